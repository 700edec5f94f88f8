"""What each program of each round is asked to do: its settings, from those of the whole and from where things lie.

docs/iterate.md has the tree of all that a run leaves. A stage's settings lie beside what it left, as STAGE.yaml, and
STAGE.done with the seconds that it took. Every program can be run again by hand with its settings file.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from plaudit.errors import ConfigurationError
from plaudit.feedback.database import without_password
from plaudit.feedback.tasks import Kind
from plaudit.finetune.reward_settings import SERVE, RewardModelSettings
from plaudit.finetune.sft_settings import SFTSettings
from plaudit.iteration.generate import GenerateSettings, RowKind
from plaudit.iteration.settings import IterateSettings
from plaudit.policy.settings import PolicySettings
from plaudit.reward.settings import ServerSettings
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.rows import DataSettings
from plaudit.settings import load, parse
from plaudit.trainer.settings import TrainSettings

S = TypeVar("S")

TASKS, JUDGED, HELD_OUT, SAID = "tasks.jsonl", "judged.jsonl", "held_out.jsonl", "judged.json"
"""In a round's folder: what is judged; what was said, to learn from and to measure with; that in numbers."""
RESPONSES, EVALUATED, FIGURES = "responses.jsonl", "evaluation.jsonl", "evaluation.json"
"""Answers to the held-out prompts; what was said of each; figures with standard errors."""
ROWS: dict[Kind, RowKind] = {Kind.COMPARE: "pair", Kind.RANK: "all", Kind.THUMBS: "one", Kind.RATING: "one"}
"""What a line of the tasks holds."""
LOSS = {Kind.THUMBS: "binary_cross_entropy", Kind.RATING: "squared_error"}
"""Of the reward model, where the settings name none; else the program's default."""


class Plan:
    """Of one run. Raises ConfigurationError, as long as nothing has begun, for what a stage would refuse."""

    def __init__(self, settings: IterateSettings) -> None:
        self.settings, self.folder = settings, Path(settings.folder)
        self.shown = _without_password(settings)
        """For files that others read."""
        self.sft()
        self.train(1)
        self.reward_model(1)

    def round(self, number: int) -> Path:
        """Its folder; 0 is the first policy's."""
        return self.folder / f"round-{number}"

    @property
    def database(self) -> str:
        """Where judgements are."""
        return self.settings.label.database or f"sqlite:///{self.folder / 'judgements.db'}"

    def key(self, number: int) -> str:
        """How the keys of a round's tasks begin: one database may serve several runs."""
        return f"{self.folder.name}/round-{number}"

    # -- policies ----------------------------------------------------------------------------------------------------

    @property
    def first(self) -> PolicySettings:
        """What the first round starts from."""
        if self.settings.sft is None:
            return replace(self.settings.policy, lora=None)
        return PolicySettings(model=str(self.folder / "sft"), dtype=self.settings.policy.dtype)

    def policy(self, number: int) -> PolicySettings:
        """What a round ends with."""
        if number == 0:
            return self.first
        step = f"step-{self.train(number).steps:05d}"
        return replace(self.first, model=str(self.round(number) / "ppo" / "checkpoints" / step), revision=None)

    # -- programs ----------------------------------------------------------------------------------------------------

    def sft(self) -> SFTSettings | None:
        """None where the run starts from a policy that there is."""
        if self.settings.sft is None:
            return None
        own = {"policy": self.settings.policy, "output": self.folder / "sft"}
        return _settings(SFTSettings, "sft", _seeded(self.settings.sft, self.settings.seed), own)

    def generate(self, number: int, ensemble: RewardServerSettings | None) -> GenerateSettings:
        """What is judged in a round, by the policy of the round before."""
        draw, count = self.settings.generate, self.settings.generate.count
        return replace(
            self._drawn(number - 1),
            prompts=draw.prompts,
            output=self.round(number) / TASKS,
            row=ROWS[self.settings.label.kind],
            per_prompt=draw.per_prompt,
            count=count,
            start=0 if count is None else (number - 1) * count,
            visit=number - 1 if count is None else 0,
            uncertain_first=ensemble,
        )

    def evaluate(self, number: int) -> GenerateSettings:
        """Responses to the held-out prompts by what a round ends with."""
        held_out = self.settings.evaluate
        return replace(
            self._drawn(number),
            prompts=held_out.prompts,
            output=self.round(number) / RESPONSES,
            row="one",
            per_prompt=held_out.per_prompt,
            different=False,
            reference=self.first,
        )

    def reward_model(self, number: int) -> RewardModelSettings:
        """A round's, or its ensemble."""
        given, kind = self.settings.reward_model, self.settings.label.kind
        rounds = range(1, number + 1) if self.settings.label.learn_from == "all" else [number]
        held_out = [str(self.round(one) / HELD_OUT) for one in range(1, number + 1)]
        own = {
            "data": DataSettings(source=[str(self.round(one) / JUDGED) for one in rounds]),
            "output": self.round(number) / "reward_model",
        }
        if self.settings.label.held_out:
            own["eval_data"] = DataSettings(source=held_out)
        defaults = {"base": self.first, "eval_fraction": 0, **({"loss": LOSS[kind]} if kind in LOSS else {})}
        return _settings(RewardModelSettings, "reward_model", {**defaults, **_seeded(given, self.settings.seed)}, own)

    def server(self, number: int) -> ServerSettings:
        """A round's reward models once they are trained; of several, the ensemble answers where none is named."""
        trained = self.reward_model(number)
        if trained.ensemble is None:
            alone = {"models": [{"name": f"round-{number}", "model": str(trained.output)}]}
            served = parse(ServerSettings, alone, source="serve")
        else:
            served = load(ServerSettings, trained.output / SERVE)
        return replace(
            served,
            address="127.0.0.1:0",
            http_address="127.0.0.1:0",
            ready_file=str(self.round(number) / "ready.json"),
            deterministic=True,  # so that a run that was killed is the same run
            threads=1,
        )

    def train(self, number: int) -> TrainSettings:
        """PPO of a round; its reward server is told when it is there."""
        anew = self.settings.start == "first"
        start = self.first if anew else self.policy(number - 1) if number > 1 else self.first
        own = {
            "folder": str(self.round(number) / "ppo"),
            "policy": replace(start, lora=self.settings.policy.lora),
            "reference": self.first if self.settings.reference == "first" and number > 1 and not anew else None,
        }
        return _settings(TrainSettings, "train", {"seed": self.settings.seed, **self.settings.train}, own)

    def _drawn(self, number: int) -> GenerateSettings:
        """As PPO draws; whatever is to be drawn."""
        train = self.train(1)
        rollout = RolloutSettings(workers=self.settings.generate.workers, group_size=train.rollout.group_size)
        return GenerateSettings(
            policy=self.policy(number),
            prompts=self.settings.generate.prompts,
            output=self.folder,
            source=f"{self.folder.name}/round-{number}",
            template=train.prompts.template,
            max_new_tokens=train.max_new_tokens,
            temperature=train.temperature,
            seed=self.settings.seed,
            rollout=rollout,
            ray_address=train.ray_address,
        )


def _without_password(settings: IterateSettings) -> IterateSettings:
    if not settings.label.database:
        return settings
    return replace(settings, label=replace(settings.label, database=without_password(settings.label.database)))


def _seeded(given: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The settings of a supervised stage, its seed that of the run unless they name one."""
    training = given.get("training", {})
    if not isinstance(training, dict):  # the program will say so
        return dict(given)
    return {**given, "training": {"seed": seed, **training}}


def _settings(kind: type[S], key: str, given: Mapping[str, Any], own: Mapping[str, Any]) -> S:
    """The program's. Raises ConfigurationError that names the key."""
    if twice := given.keys() & own.keys():
        raise ConfigurationError(f"'{key}.{min(twice)}' is decided by the rounds: leave it out")
    return parse(kind, {**given, **own}, source=key)
