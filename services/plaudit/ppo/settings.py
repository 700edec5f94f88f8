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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KLSettings:
    """The penalty that holds the policy near its reference. KL is in nats per response: summed over its tokens."""

    coef: NotNegative = 0.15  # beta at the start (lm-hp)
    controller: Literal["fixed", "adaptive"] = "fixed"
    target_kl_nats_per_response: Positive = 6.0  # adaptive only (lm-hp)
    horizon_episodes: Positive = 10_000  # adaptive only (lm-hp): short runs need one of at most about 20 batches

    def __post_init__(self) -> None:
        if self.controller == "adaptive" and self.coef == 0:
            raise ValueError("an adaptive controller multiplies coef, so it has to start above 0: try 0.15")


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
    value_clip_range: Positive = 0.2  # of a value's move away from the rollout's
    value_coef: NotNegative = 0.1  # lm-hp
    entropy_coef: NotNegative = 0.0  # a bonus keeps exploration alive where rewards are sparse
    critic: Literal["shared", "separate"] = "shared"  # separate: a second trunk, twice the memory, no interference

    gamma: Fraction = 1.0
    gae_lambda: Fraction = 0.95  # lm-hp
    whiten_advantages: bool = True  # to mean 0 and variance 1 over the whole batch
    whiten_rewards: bool = False  # to variance 1: for rewards of unknown scale
    kl: KLSettings = Field(default_factory=KLSettings)

    microbatch_tokens: Count = 4096  # padded tokens per forward pass: bounds the memory, never changes the gradient

    def learning_rate_scale(self, step: int, steps: int) -> float:
        """What multiplies `learning_rate` in step `step` (from 0) of a run of `steps`."""
        return 1.0 if self.learning_rate_schedule == "constant" else max(0.0, 1.0 - step / steps)
