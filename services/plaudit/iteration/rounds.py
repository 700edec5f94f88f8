"""What rounds that have ended left behind, read again: for the report and the model card."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plaudit.finetune.reward_settings import MEASURED
from plaudit.iteration import comparing
from plaudit.iteration.plan import FIGURES, SAID, Plan
from plaudit.iteration.stages import seconds
from plaudit.report.run_folder import Sample
from plaudit.reward import folder as reward_folder
from plaudit.uncertainty import Estimate

STAGES = ("generate", "judge", "reward_model", "ppo", "respond", "evaluate")
KINDS = {"compare": "comparisons", "rank": "rankings", "thumbs": "thumbs", "rating": "ratings"}


@dataclass(frozen=True)
class Labelled:
    """What was said in a round, and by whom."""

    tasks: int
    judgements: int
    people: int
    flagged: int
    model: dict[str, str] | None  # the labelling model's name and digest
    alpha: Estimate | None
    tasks_shared: int  # judged twice at least: what alpha is of

    @property
    def flagged_share(self) -> float:
        """Of the judgements, those whose author said that something is wrong with the task."""
        return self.flagged / self.judgements


@dataclass(frozen=True)
class Round:
    """One that has ended; 0 is the first policy's."""

    number: int
    figures: dict[str, Any]  # evaluation.json
    samples: list[Sample] = field(repr=False)
    labelled: Labelled | None = None
    accuracy: Estimate | None = None  # of the reward model, or the members' mean, on held-out judgements
    base_accuracy: Estimate | None = None  # of thumbs: of always saying what most said
    gain: Estimate | None = None  # of thumbs: nats of log loss less than by how many are up
    fit: Estimate | None = None  # R² instead, where judgements are ratings
    reward_models: tuple[str, ...] = ()  # versions
    seconds: dict[str, float] = field(default_factory=dict)

    def figure(self, name: str) -> Estimate | None:
        """Such as "kl", or "gold_gain.first"."""
        found: Any = self.figures
        for key in name.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return estimate(found)


def read(plan: Plan) -> list[Round]:
    """All that have ended, in order."""
    return list(_read(plan))


def estimate(tree: Any) -> Estimate | None:
    """As it was written."""
    return Estimate(**tree) if isinstance(tree, dict) else None


def _read(plan: Plan) -> Iterator[Round]:
    for number in range(plan.settings.rounds + 1):
        folder = plan.round(number)
        if not (folder / FIGURES).is_file():
            return
        figures = _json(folder / FIGURES)
        found = comparing.samples(comparing.read_evaluated(folder))
        yield _judged(plan, number, figures, found) if number else Round(number, figures, found)


def _judged(plan: Plan, number: int, figures: dict[str, Any], found: list[Sample]) -> Round:
    measured, folders = _measured(plan, number), plan.reward_model(number).folders
    return Round(
        number,
        figures,
        found,
        labelled=_labelled(plan.round(number)),
        accuracy=measured["accuracy"],
        base_accuracy=measured["base_accuracy"],
        gain=measured["gain"] if measured["base_accuracy"] else None,  # that of pairs is over the length rule
        fit=measured["r_squared"],
        reward_models=tuple(str(_json(folder / reward_folder.NAME)["version"]) for folder in folders),
        seconds=_seconds(plan, number),
    )


def _labelled(folder: Path) -> Labelled:
    told = _json(folder / SAID)
    agreement: dict[str, Any] = next(iter(told["agreement"].values()), {"alpha": None, "tasks": 0})
    return Labelled(
        tasks=told["tasks"],
        judgements=told["judgements"],
        people=told["people"],
        flagged=told["flagged"],
        model=told["model"],
        alpha=estimate(agreement["alpha"]),
        tasks_shared=agreement["tasks"],
    )


def _measured(plan: Plan, number: int) -> dict[str, Estimate | None]:
    path = plan.reward_model(number).output / MEASURED
    told = _json(path) if path.is_file() else {}
    return {name: estimate(told.get(name)) for name in ("accuracy", "base_accuracy", "gain", "r_squared")}


def _seconds(plan: Plan, number: int) -> dict[str, float]:
    return {name: seconds(plan.round(number) / name) or 0.0 for name in STAGES}


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
