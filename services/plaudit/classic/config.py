"""trl 0.11's `PPOConfig`: the same names, the same defaults."""

import math
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from plaudit.ppo.settings import KLSettings, PPOSettings, ScoreSettings

ESTIMATORS: dict[str, Literal["k1", "abs", "mse", "full"]] = {"kl": "k1", "abs": "abs", "mse": "mse", "full": "full"}


@dataclass
class PPOConfig:
    """What a `PPOTrainer` is told. Fields that only name things, or that it has no use for, are kept as given.

    Raises ValueError for what cannot be.
    """

    exp_name: str = field(default_factory=lambda: Path(sys.argv[0]).stem)
    seed: int = 0
    log_with: str | None = None  # a tracker that accelerate knows: tensorboard, wandb, mlflow ...
    task_name: str | None = None
    model_name: str = "gpt2"
    query_dataset: str | None = "stanfordnlp/imdb"
    reward_model: str | None = "sentiment-analysis:lvwerra/distilbert-imdb"
    remove_unused_columns: bool = True
    tracker_kwargs: dict[str, Any] = field(default_factory=dict)
    accelerator_kwargs: dict[str, Any] = field(default_factory=dict)
    project_kwargs: dict[str, Any] = field(default_factory=dict)
    tracker_project_name: str = "trl"
    push_to_hub_if_best_kwargs: dict[str, Any] = field(default_factory=dict)
    steps: int = 20_000
    learning_rate: float = 1.41e-5
    adap_kl_ctrl: bool = True
    init_kl_coef: float = 0.2
    kl_penalty: Literal["kl", "abs", "mse", "full"] = "kl"
    target: float = 6.0  # nats per response
    horizon: float = 10_000.0  # responses
    gamma: float = 1.0
    lam: float = 0.95
    cliprange: float = 0.2
    cliprange_value: float = 0.2
    vf_coef: float = 0.1
    batch_size: int = 128
    forward_batch_size: int | None = None  # trl's older name of mini_batch_size
    mini_batch_size: int = 128
    gradient_accumulation_steps: int = 1
    world_size: int | None = None
    ppo_epochs: int = 4
    max_grad_norm: float | None = None
    optimize_cuda_cache: bool | None = None
    optimize_device_cache: bool = False
    early_stopping: bool = False
    target_kl: float = 1.0
    compare_steps: int = 1
    ratio_threshold: float = 10.0
    use_score_scaling: bool = False
    use_score_norm: bool = False
    score_clip: float | None = None
    whiten_rewards: bool = False
    gradient_checkpointing: bool = False
    is_encoder_decoder: bool | None = None
    is_peft_model: bool | None = None
    backward_batch_size: int = 0  # filled in: the rows of one optimizer step
    global_backward_batch_size: int = 0
    global_batch_size: int = 0
    dataset_num_proc: int | None = None

    def __post_init__(self) -> None:
        if self.forward_batch_size is not None:
            self.mini_batch_size = self.forward_batch_size
        if self.kl_penalty not in ESTIMATORS:
            raise ValueError(f"kl_penalty '{self.kl_penalty}': one of {', '.join(ESTIMATORS)}")
        if self.push_to_hub_if_best_kwargs:
            raise ValueError("push_to_hub_if_best_kwargs: nothing is pushed from here; save_pretrained, then push")
        self.backward_batch_size = self.mini_batch_size * self.gradient_accumulation_steps
        if self.backward_batch_size < 1 or self.batch_size % self.backward_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of mini_batch_size * gradient_accumulation_steps, "
                f"{self.backward_batch_size}"
            )
        self.global_backward_batch_size, self.global_batch_size = self.backward_batch_size, self.batch_size

    @property
    def total_ppo_epochs(self) -> int:
        """How often `step` is called until `steps` responses have been seen; loops of programs end there."""
        return math.ceil(self.steps / self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Every field by its name, those of nested dictionaries as `field/name`."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            flat |= {f"{name}/{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
        return flat

    def settings(self) -> PPOSettings:
        """The same in plaudit's own terms."""
        adaptive = self.adap_kl_ctrl and self.init_kl_coef > 0  # from 0 it never moves
        normalisation: Literal["none", "scale", "standardise"] = "none"
        if self.use_score_scaling:
            normalisation = "standardise" if self.use_score_norm else "scale"
        return PPOSettings(
            epochs=self.ppo_epochs,
            minibatches=self.batch_size // self.backward_batch_size,
            learning_rate=self.learning_rate,
            adam_eps=1e-8,
            sampler_correction="none",  # nobody kept the sampler's log-probabilities
            clip_range=self.cliprange,
            value_clip_range=self.cliprange_value,
            value_coef=self.vf_coef,
            gamma=self.gamma,
            gae_lambda=self.lam,
            whiten_rewards=self.whiten_rewards,
            kl=KLSettings(
                coef=self.init_kl_coef,
                estimator=ESTIMATORS[self.kl_penalty],
                controller="adaptive" if adaptive else "fixed",
                target_kl_nats_per_response=self.target,
                horizon_episodes=self.horizon,
            ),
            scores=ScoreSettings(normalisation=normalisation, clip=self.score_clip),
        )
