"""The settings of `plaudit iterate`. Those of its stages are the programs' own, less what the rounds decide."""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.feedback.tasks import Kind
from plaudit.policy.settings import PolicySettings
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.rows import DataSettings
from plaudit.settings import STRICT

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
MAY_CHANGE = ("rounds", "card", "label.database", "label.enough", "generate.workers")
"""Beside addresses: what a run that goes on may have otherwise than before."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DrawSettings:
    """What is judged: the newest policy's responses, drawn as PPO draws them."""

    prompts: DataSettings
    count: Count | None = None  # prompts a round, new ones as long as there are; null: all of them in every round
    per_prompt: Annotated[int, Field(ge=1)] = 2  # responses to each
    uncertain_first: bool = False  # what the last round's reward models are furthest apart on; needs several
    workers: Count = 2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabellerSettings(RewardServerSettings):
    """A labelling model: any reward server, judging by its scores."""

    noise: NotNegative = 0.0  # as Bradley and Terry have it, in units of the score: it may prefer the lower one
    content: float = 0.0  # thumbs: up from this score on
    lowest: float = -2.0  # rating: one star at most up to here,
    highest: float = 2.0  # five from here on

    def __post_init__(self) -> None:
        if self.highest <= self.lowest:
            raise ValueError(f"highest {self.highest:g} is not above lowest {self.lowest:g}: stars lie between them")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelSettings:
    """Who judges, and how."""

    kind: Literal[Kind.COMPARE, Kind.RANK, Kind.THUMBS, Kind.RATING] = Kind.COMPARE
    wanted: Count = 1  # judgements of a task, by as many people: with two or more, their agreement is measured
    shared: Annotated[float, Field(gt=0, le=1)] = 1.0  # part of the tasks that so many judge; the others one
    model: LabellerSettings | None = None  # null: people, at `plaudit label` on the same database
    database: str = ""  # sqlite:///FILE or postgresql://...; empty: judgements.db in the folder
    enough: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the wanted judgements with which a round goes on
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of the prompts: reward models are measured on these
    learn_from: Literal["all", "latest"] = "all"  # rounds whose judgements a reward model is trained on


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateSettings:
    """The same held-out prompts after every round."""

    prompts: DataSettings
    per_prompt: Count = 1
    gold: RewardServerSettings | None = None  # a service that nobody learns from, where the truth is known


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CardSettings:
    """What the model card says beside what was measured."""

    title: str = ""  # the folder's name where empty
    license: str = ""  # as Hugging Face names them: apache-2.0 ...
    language: tuple[str, ...] = ()
    names: bool = False  # of those who judged; else they are counted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class IterateSettings:
    """Rounds of generating, judging, a reward model and PPO."""

    folder: str
    rounds: Count
    policy: PolicySettings  # what the first round starts from; with `sft`, what is fine-tuned first
    generate: DrawSettings
    evaluate: EvaluateSettings
    train: dict[str, Any]  # `plaudit train`, without folder, policy, reference, reward
    sft: dict[str, Any] | None = None  # `plaudit sft`, without policy, output
    label: LabelSettings = LabelSettings()
    reward_model: dict[str, Any] = field(default_factory=dict)  # `plaudit reward-model`, without data, output
    # What a round's PPO starts from. `first`: every round anew, as Bai et al. 2022 and InstructGPT did.
    start: Literal["previous", "first"] = "previous"
    # What KL is measured from. `first`: one leash for all rounds, however many there are.
    reference: Literal["first", "start"] = "first"
    card: CardSettings = CardSettings()
    seed: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.generate.uncertain_first and not self.reward_model.get("ensemble"):
            raise ValueError("generate.uncertain_first asks several reward models: set reward_model.ensemble")
        if self.label.kind in (Kind.COMPARE, Kind.RANK) and self.generate.per_prompt < 2:
            raise ValueError(f"label.kind {self.label.kind} compares responses: set generate.per_prompt to 2 or more")
