"""`plaudit eval settings.yaml`: how often a reward model agrees with preferences.

    data: {source: preferences.jsonl}           any shape that `plaudit reward-model` takes; `subset`, `annotator`
    reward: {address: 127.0.0.1:50051}          a server; or instead
    folder: runs/reward_model                   a reward model's folder, scored in this process
    output: runs/accuracy                       optional: accuracy.json and accuracy.md
    unseen: [Ada, Bob]                          optional: annotators of whom the model has learnt nothing

Beside each accuracy stand its standard error, the accuracy of picking the longer answer, and the difference between the
two, taken pair by pair. A pair with a side that has no score is counted as missing, never as a number.

Where rows say who judged, each person has a line: a reward model that agrees with some and not with others has learnt
whose taste it is. What it is worth to people who come later is seen on `unseen` ones alone.
"""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from rich.console import Console

from plaudit.errors import RunFailed
from plaudit.evaluation.accuracy_report import as_dict, as_markdown, as_table
from plaudit.evaluation.sides import Answers, ask_folder, ask_server
from plaudit.outputs import check_folder, writing
from plaudit.preferences import annotators
from plaudit.preferences.agreement import Agreement, agreement
from plaudit.preferences.reading import Preference, read_preferences
from plaudit.reward_server import RewardServerSettings
from plaudit.rows import DataSettings
from plaudit.settings import STRICT, load
from plaudit.uncertainty import Estimate, mean

SEEN, UNSEEN = "seen people", "unseen people"

Scored = tuple[float, float, Preference]
"""Of the chosen one, and of the rejected one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AccuracySettings:
    """What is measured, and on what."""

    data: DataSettings
    reward: RewardServerSettings | None = None  # exactly one of `reward` and `folder`
    folder: Path | None = None
    output: Path | None = None
    unseen: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    def __post_init__(self) -> None:
        if (self.reward is None) == (self.folder is None):
            raise ValueError("give either `reward` (a server) or `folder` (a reward model's folder)")


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The result of one evaluation."""

    model: str  # models/{model}/versions/{version}, or the folder
    overall: Agreement
    subsets: dict[str, Agreement]  # by the rows' `subset`, in the order of their names
    annotators: dict[str, Agreement]  # by the rows' `annotator`
    groups: dict[str, Agreement]  # of `SEEN` and `UNSEEN` annotators, where the settings name some
    unseen_people: Estimate | None  # the mean accuracy of unseen annotators, each counted once
    missing: Counter[str]  # why sides have no score -> how many
    missing_pairs: int


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    settings = load(AccuracySettings, path, overrides)
    found = evaluate(settings)
    Console().print(as_table(found))
    if settings.output is not None:
        _write(settings.output, found)
        print(f"wrote {settings.output}/accuracy.json and accuracy.md")
    return 0


def evaluate(settings: AccuracySettings) -> Accuracy:
    """Scores both sides of every preference and compares; raises RunFailed when no pair has two scores."""
    preferences = read_preferences(settings.data)
    annotators.check("unseen", settings.unseen or (), preferences)
    if settings.output is not None:
        check_folder("output", settings.output)
    if settings.folder is not None:
        answers = ask_folder(settings.folder, preferences)
    else:
        answers = ask_server(settings.reward or RewardServerSettings(), preferences)
    return compare(answers, preferences, settings.unseen)


def compare(answers: Answers, preferences: Sequence[Preference], unseen: Collection[str] | None = None) -> Accuracy:
    """`answers` has the sides of `preferences`, in order; `unseen` names annotators."""
    scored = [
        (chosen, rejected, preference)
        for chosen, rejected, preference in zip(answers.chosen, answers.rejected, preferences, strict=True)
        if chosen is not None and rejected is not None
    ]
    if not scored:
        reasons = ", ".join(f"{count} {reason}" for reason, count in answers.missing.most_common(3))
        raise RunFailed(f"none of the {len(preferences)} pairs has two scores: {reasons}")
    people = _by(scored, lambda preference: preference.annotator)
    return Accuracy(
        model=answers.model,
        overall=_agreement(scored),
        subsets=_by(scored, lambda preference: preference.subset),
        annotators=people,
        groups=_by(scored, lambda preference: _group(preference, unseen)),
        unseen_people=_over_people([people[name] for name in unseen or () if name in people]),
        missing=answers.missing,
        missing_pairs=len(preferences) - len(scored),
    )


def _by(scored: Sequence[Scored], name: Callable[[Preference], str | None]) -> dict[str, Agreement]:
    """In the order of the names; of None there is no entry."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for entry in scored:
        if (group := name(entry[2])) is not None:
            groups[group].append(entry)
    return {group: _agreement(groups[group]) for group in sorted(groups)}


def _group(preference: Preference, unseen: Collection[str] | None) -> str | None:
    if unseen is None:
        return None
    return UNSEEN if preference.annotator in unseen else SEEN


def _over_people(people: Sequence[Agreement]) -> Estimate | None:
    """Its standard error is over people: others might have been unseen."""
    return mean([person.accuracy.value for person in people]) if people else None


def _agreement(scored: Sequence[Scored]) -> Agreement:
    chosen, rejected, preferences = zip(*scored, strict=True)
    return agreement(chosen, rejected, preferences)


def _write(folder: Path, found: Accuracy) -> None:
    with writing("output", folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "accuracy.json").write_text(json.dumps(as_dict(found), indent=1) + "\n", encoding="utf-8")
        (folder / "accuracy.md").write_text(as_markdown(found), encoding="utf-8")
