"""The settings of `plaudit train`."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from plaudit.addresses import require_loopback
from plaudit.policy.settings import PolicySettings
from plaudit.ppo.settings import PPOSettings, Sharding
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.rows import DataSettings
from plaudit.settings import STRICT
from plaudit.telemetry.tracing import RunTracingSettings

RewardName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
FIRST_REWARD = "reward"
"""What the service under `reward` is called beside `more_rewards`."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PromptSettings:
    """Where prompts come from and how the policy reads them."""

    data: DataSettings  # rows with `prompt`: a string or a list of {role, content}
    held_out: DataSettings | None = None  # never trained on: `samples/` are drawn from these
    template: Literal["plain", "chat"] = "plain"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainingSettings:
    """Text that the policy must not forget while it is rewarded."""

    data: DataSettings
    field: str = "text"  # the rows' field that is learnt
    coef: Annotated[float, Field(gt=0)] = 27.8  # InstructGPT's gamma, of the mean loss per token
    texts_per_step: Annotated[int, Field(ge=1)] = 64  # shared among an epoch's optimizer steps
    max_tokens: Annotated[int, Field(ge=1)] = 128  # longer texts are cut into pieces, each a text of its own


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardSettings(RewardServerSettings):
    """One reward service and what its scores count for."""

    weight: float = 1.0
    pessimism: Annotated[float, Field(ge=0)] = 0.0  # k: an ensemble's score is its members' mean - k deviations


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SamplesSettings:
    """The same held-out prompts, answered again every `every` steps."""

    every: Annotated[int, Field(ge=1)] = 10
    per_prompt: Annotated[int, Field(ge=1)] = 1
    best_of: Annotated[int, Field(ge=0)] = 16  # answers of the starting policy to each: the report's best-of-n; 0: none


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckpointSettings:
    """When checkpoints are written and which are kept."""

    every: Annotated[int, Field(ge=1)] = 50
    keep: Annotated[int, Field(ge=1)] = 2  # the newest ones
    # and the one before which this metric was highest, its mean over the last `every` steps
    best_by: Literal["reward_mean", "score_mean"] | None = "reward_mean"
    grace_s: Annotated[float, Field(gt=0)] = 25.0  # from SIGTERM to the end: Kubernetes kills after 30


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainSettings:
    """One PPO run."""

    folder: str
    steps: Annotated[int, Field(ge=1)]
    policy: PolicySettings
    prompts: PromptSettings
    reference: PolicySettings | None = None  # what KL is measured from; null: the policy as the run begins
    reward: RewardSettings = RewardSettings()
    more_rewards: dict[RewardName, RewardSettings] = field(default_factory=dict)  # added to it, by weight
    rollout: RolloutSettings = RolloutSettings()
    ppo: PPOSettings = PPOSettings()
    pretraining: PretrainingSettings | None = None  # PPO-ptx: text that is learnt beside the rewards
    samples: SamplesSettings = SamplesSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    batch_size: Annotated[int, Field(ge=1)] = 64  # responses per step
    max_missing_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of them without a reward; past it the run stops
    samples_per_prompt: Annotated[int, Field(ge=1)] = 1
    max_new_tokens: Annotated[int, Field(ge=1)] = 48
    temperature: Annotated[float, Field(gt=0)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    ranks: Annotated[int, Field(ge=1)] = 1  # learner processes; 1 runs it inside the trainer
    sharding: Sharding = "replicate"  # full: each rank holds its part of weights, gradients and moments (FSDP2)
    ray_address: str | None = None  # null starts Ray on this machine
    address: str = "127.0.0.1:0"  # TrainerService over gRPC; port 0 takes any free one, named in run.json
    http_address: str = "127.0.0.1:0"  # /metrics and /health
    insecure_bind: bool = False  # needed for other than loopback: nobody is asked who they are
    tracing: RunTracingSettings | None = None  # traces.jsonl, and OTLP to a collector; needs the extra `tracing`
    trackers: tuple[str, ...] = ("tensorboard",)  # any that accelerate knows: tensorboard, wandb, mlflow ...

    def __post_init__(self) -> None:
        require_loopback("address", self.address, unless=self.insecure_bind)
        require_loopback("http_address", self.http_address, unless=self.insecure_bind)
        if FIRST_REWARD in self.more_rewards:
            raise ValueError(f"more_rewards has a '{FIRST_REWARD}': that is the name of the first, choose another")
        if self.sharding == "full" and self.ranks == 1:
            raise ValueError("sharding full spreads the learner over its ranks: set ranks to 2 or more")
        if self.ppo.minibatches > self.batch_size:
            raise ValueError(f"ppo.minibatches {self.ppo.minibatches} is more than batch_size {self.batch_size}")
        if self.ppo.kl.controller == "adaptive" and self.ppo.kl.horizon_episodes < self.batch_size:
            raise ValueError(  # beta would jump by more than a fifth in one step, and below 0 from five batches on
                f"ppo.kl.horizon_episodes {self.ppo.kl.horizon_episodes:g} is in episodes, so at least batch_size "
                f"{self.batch_size}"
            )
        if not self.ppo.learns_values and self.samples_per_prompt == 1:  # every advantage would be 0
            raise ValueError(
                f"ppo.advantages {self.ppo.advantages} compares the samples of a prompt: set samples_per_prompt to 2 "
                "or more"
            )
        if self.batch_size % self.samples_per_prompt:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of samples_per_prompt {self.samples_per_prompt}"
            )

    @property
    def rewards(self) -> dict[str, RewardSettings]:
        """Every reward service by its name in metrics."""
        return {FIRST_REWARD: self.reward, **self.more_rewards}
