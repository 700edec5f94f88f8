"""`plaudit eval settings.yaml`: how often a reward model agrees with preferences.

    data: {source: preferences.jsonl}           any shape that `plaudit reward-model` takes; `subset`, `annotator`
    reward: {address: 127.0.0.1:50051}          a server; or instead
    folder: runs/reward_model                   a reward model's folder, scored in this process; or
    ensemble: {members: [runs/a, runs/b]}       several, as a server's `ensemble` has them, each by itself too
    output: runs/accuracy                       optional: accuracy.json and accuracy.md
    format: json                                optional: on standard output, text (else), json or markdown
    unseen: [Ada, Bob]                          optional: annotators of whom the model has learnt nothing
    benchmark: rewardbench                      optional: its sections and score; or rewardbench2

Beside each accuracy stand its standard error, the accuracy of picking the longer answer, and the difference between the
two, taken pair by pair. A pair with a side that has no score is counted as missing, never as a number.

Where rows say who judged, each person has a line: a reward model that agrees with some and not with others has learnt
whose taste it is. What it is worth to people who come later is seen on `unseen` ones alone.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from rich.console import Console

from plaudit.evaluation import rewardbench, rewardbench2
from plaudit.evaluation.accuracy_report import as_dict, as_markdown, as_table
from plaudit.evaluation.comparing import Accuracy, compare
from plaudit.evaluation.sides import Scores, ask_ensemble, ask_folder, ask_server
from plaudit.outputs import check_folder, write_text, writing
from plaudit.preferences import annotators
from plaudit.preferences.reading import Preference, Side, read_preferences
from plaudit.reward.settings import EnsembleSettings
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.rows import DataSettings
from plaudit.settings import STRICT, load


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AccuracySettings:
    """What is measured, and on what."""

    data: DataSettings
    reward: RewardServerSettings | None = None  # exactly one of `reward`, `folder` and `ensemble`
    folder: Path | None = None
    ensemble: EnsembleSettings | None = None  # its members are folders
    output: Path | None = None
    format: Literal["text", "json", "markdown"] = "text"
    unseen: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    benchmark: Literal["rewardbench", "rewardbench2"] | None = None

    def __post_init__(self) -> None:
        if [self.reward, self.folder, self.ensemble].count(None) != 2:
            raise ValueError(
                "give either `reward` (a server), `folder` (a reward model's folder) or `ensemble` (several folders)"
            )
        if self.ensemble is not None and len(set(self.ensemble.members)) < len(self.ensemble.members):
            raise ValueError("ensemble names a member twice")
        if self.unseen is not None and self.benchmark is not None:
            raise ValueError("unseen is about the people who judged: a benchmark's rows name none")


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    settings = load(AccuracySettings, path, overrides)
    found = evaluate(settings)
    _show(settings.format, found)
    if settings.output is not None:
        _write(settings.output, found)
        said = sys.stdout if settings.format == "text" else sys.stderr
        print(f"wrote {settings.output}/accuracy.json and accuracy.md", file=said)
    return 0


def evaluate(settings: AccuracySettings) -> Accuracy:
    """Scores both sides of every preference and compares; raises RunFailed when no pair has two scores."""
    if settings.benchmark == "rewardbench2":
        questions = rewardbench2.read(settings.data)
        scores = _ask(settings, [side for question in questions for side in question.sides])
        return rewardbench2.compare(scores, questions)
    preferences = _preferences(settings)
    scores = _ask(settings, [side for one in preferences for side in (one.chosen, one.rejected)])
    found = compare(scores, preferences, settings.unseen)
    if settings.benchmark is None:
        return found
    return replace(found, benchmark=rewardbench.table(scores, preferences))


def _preferences(settings: AccuracySettings) -> list[Preference]:
    preferences = read_preferences(settings.data)
    annotators.check("unseen", settings.unseen or (), preferences)
    if settings.benchmark is not None:
        rewardbench.check(preferences)
    return preferences


def _ask(settings: AccuracySettings, sides: Sequence[Side]) -> Scores:
    if settings.output is not None:
        check_folder("output", settings.output)
    if settings.folder is not None:
        return ask_folder(settings.folder, sides)
    if settings.ensemble is not None:
        return ask_ensemble(settings.ensemble, sides)
    return ask_server(settings.reward or RewardServerSettings(), sides)


def _show(how: Literal["text", "json", "markdown"], found: Accuracy) -> None:
    """On standard output, nothing but what was asked for."""
    match how:
        case "text":
            console = Console()
            console.print(as_table(found, console.width))
        case "json":
            print(_json(found))
        case "markdown":
            print(as_markdown(found), end="")


def _json(found: Accuracy) -> str:
    return json.dumps(as_dict(found), indent=1)


def _write(folder: Path, found: Accuracy) -> None:
    with writing("output", folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "accuracy.json", _json(found) + "\n")
        write_text(folder / "accuracy.md", as_markdown(found))
