"""The knobs of PPO. Every default is that of a published recipe; where it comes from stands beside it.

lm-hp: "Fine-Tuning Language Models from Human Preferences" (Ziegler et al. 2019), code in openai/lm-human-preferences.
N-details: "The N Implementation Details of RLHF with PPO" (Huang et al. 2023).
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.settings import STRICT

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

Sharding = Literal["replicate", "full"]
"""What each rank of a learner holds: everything, or its part of all weights, gradients and moments (FSDP2)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KLSettings:
    """The penalty that holds the policy near its reference. KL is in nats per response: summed over its tokens."""

    coef: NotNegative = 0.15  # beta at the start (lm-hp)
    placement: Literal["reward", "loss"] | None = None  # null: in the loss with grpo, else in each token's reward
    estimator: Literal["k1", "abs", "mse", "full"] = "k1"  # of the penalty in the reward; docs/ppo.md compares them
    controller: Literal["fixed", "adaptive"] = "fixed"
    target_kl_nats_per_response: Positive = 6.0  # adaptive (lm-hp); what is watched is held against it in either case
    horizon_episodes: Positive = 10_000  # adaptive only (lm-hp): short runs need one of at most about 20 batches
    update_limit_nats_per_token: Positive | None = None  # from the policy before the step: past it, its epochs end
    run_limit_nats_per_response: Positive | None = None  # from the reference: past it, the run ends

    def __post_init__(self) -> None:
        if self.controller == "adaptive" and self.coef == 0:
            raise ValueError("an adaptive controller multiplies coef, so it has to start above 0: try 0.15")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScoreSettings:
    """What is done to scores before they are rewards, in this order. Metrics show them as the service gave them."""

    missing_eos_penalty: NotNegative = 0.0  # taken off the score of a response that was cut at max_new_tokens
    normalisation: Literal["none", "scale", "standardise"] = "none"  # by running moments: over std; less mean, over std
    clip: Positive | None = None  # to -clip .. clip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PPOSettings:
    """How a learner turns one scored batch into an update."""

    epochs: Count = 4  # passes over a batch (lm-hp)
    minibatches: Count = 1  # optimizer steps per epoch (lm-hp)

    learning_rate: NotNegative = 1e-5  # lm-hp, 124 M parameters; small models and LoRA bear ten times as much
    critic_learning_rate: NotNegative | None = None  # of value head and separate critic; None: learning_rate
    learning_rate_schedule: Literal["constant", "linear"] = "constant"  # linear: to 0 at the end of the run
    adam_betas: tuple[Decay, Decay] = (0.9, 0.999)
    adam_eps: Positive = 1e-5  # N-details: PyTorch's own 1e-8 makes early updates more aggressive
    weight_decay: NotNegative = 0.0  # decoupled; lm-hp has none
    max_grad_norm: Positive = 1.0

    clip_range: Positive = 0.2  # of the ratio
    sampler_correction: Literal["none", "truncate", "mask"] = "truncate"  # where sampler and learner are not one
    sampler_weight_cap: Annotated[float, Field(ge=1)] = 2.0  # truncate: to at most this; mask: 0 outside 1/cap .. cap
    value_clip_range: Positive = 0.2  # of a value's move away from the rollout's
    value_coef: NotNegative = 0.1  # lm-hp
    entropy_coef: NotNegative = 0.0  # a bonus keeps exploration alive where rewards are sparse
    critic: Literal["shared", "separate"] = "shared"  # separate: a second trunk, twice the memory, no interference
    critic_model: str | None = None  # of a separate critic: a reward model to start from; null: the policy itself
    critic_warmup_steps: Annotated[int, Field(ge=0)] = 0  # first steps in which the critic alone learns

    advantages: Literal["gae", "rloo", "grpo"] = "gae"  # rloo, grpo: no critic, but several samples of each prompt
    gamma: Fraction = 1.0  # gae only
    gae_lambda: Fraction = 0.95  # gae only (lm-hp)
    whiten_advantages: bool | None = None  # to mean 0 and variance 1 over the whole batch; null: with gae alone
    whiten_rewards: bool = False  # gae only: to variance 1, for rewards of unknown scale
    kl: KLSettings = Field(default_factory=KLSettings)
    scores: ScoreSettings = Field(default_factory=ScoreSettings)

    microbatch_tokens: Count = 4096  # padded tokens per forward pass: bounds the memory, never changes the gradient

    def __post_init__(self) -> None:
        if self.critic == "separate" and not self.learns_values:
            raise ValueError(f"advantages {self.advantages} has no critic: leave critic out")
        if self.kl_in_loss and self.kl.estimator != "k1":
            raise ValueError("kl.estimator is of the penalty in the reward; in the loss it is always k2: leave it out")
        if self.whiten_rewards and not self.learns_values:
            raise ValueError(f"advantages {self.advantages} compares whole responses: leave whiten_rewards out")
        if self.critic_warmup_steps and not self.learns_values:
            raise ValueError(f"advantages {self.advantages} has no critic: leave critic_warmup_steps out")
        if self.critic_model is not None and self.critic != "separate":
            raise ValueError("critic_model is of a separate critic: set critic to separate")

    @property
    def learns_values(self) -> bool:
        """Whether there is a critic to train."""
        return self.advantages == "gae"

    @property
    def whitens(self) -> bool:
        """Group baselines have centred their advantages already."""
        return self.advantages == "gae" if self.whiten_advantages is None else self.whiten_advantages

    @property
    def kl_in_loss(self) -> bool:
        """Whether the penalty is a term of the loss (k2) instead of one of the reward."""
        return (self.kl.placement or ("loss" if self.advantages == "grpo" else "reward")) == "loss"

    def learning_rate_scale(self, step: int, steps: int) -> float:
        """What multiplies `learning_rate` in step `step` (from 0) of a run of `steps`."""
        return 1.0 if self.learning_rate_schedule == "constant" else max(0.0, 1.0 - step / steps)
