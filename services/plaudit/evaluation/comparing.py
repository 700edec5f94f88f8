"""What scores say of preferences: all of them, and by subset, by member of an ensemble and by who judged."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np

from plaudit.errors import RunFailed
from plaudit.evaluation.benchmark import Benchmark
from plaudit.evaluation.sides import Scores
from plaudit.preferences.agreement import Agreement, Compared, compared, weighed
from plaudit.preferences.reading import Preference
from plaudit.uncertainty import Estimate, mean

SEEN, UNSEEN = "seen people", "unseen people"

Name = TypeVar("Name", bound=Hashable)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The result of one evaluation."""

    model: str  # models/{model}/versions/{version}, or the folder
    unit: str = "pairs"  # what is counted; or "questions", each of them several answers
    overall: Agreement
    members: dict[str, Agreement] = dataclasses.field(default_factory=dict)  # of an ensemble, each by itself
    subsets: dict[str, Agreement]  # by the rows' `subset`, in the order of their names
    annotators: dict[str, Agreement] = dataclasses.field(default_factory=dict)  # by the rows' `annotator`
    groups: dict[str, Agreement] = dataclasses.field(default_factory=dict)  # `SEEN`, `UNSEEN`, where settings name some
    unseen_people: Estimate | None = None  # the mean accuracy of unseen annotators, each counted once
    benchmark: Benchmark | None = None
    missing: Counter[str]  # why sides have no score -> how many
    left_out: int  # of `unit`: those of which a side has no score


def compare(scores: Scores, preferences: Sequence[Preference], unseen: Collection[str] | None = None) -> Accuracy:
    """`scores` has the sides of `preferences` in turn: chosen, rejected, chosen, ...; `unseen` names annotators."""
    kept = fully_scored(scores, [2] * len(preferences))
    judged = [preferences[place] for place in kept]
    whole, *members = (
        compared_pairs(values, preferences, kept) for values in (scores.values, *scores.members.values())
    )
    people = _each(whole, places_by_name([preference.annotator for preference in judged]))
    return Accuracy(
        model=scores.model,
        overall=unweighted(whole),
        members={name: unweighted(member) for name, member in zip(scores.members, members, strict=True)},
        subsets=_each(whole, places_by_name([preference.subset for preference in judged])),
        annotators=people,
        groups=_each(whole, places_by_name([_group(preference, unseen) for preference in judged])),
        unseen_people=_over_people([people[name] for name in unseen or () if name in people]),
        missing=scores.missing,
        left_out=len(preferences) - len(kept),
    )


def fully_scored(scores: Scores, sizes: Sequence[int]) -> list[int]:
    """The rows of so many sides each, of which all have a score; RunFailed where there is none."""
    whole = [None not in row for row in by_row(scores.values, sizes)]
    if not any(whole):
        reasons = ", ".join(f"{count} {reason}" for reason, count in scores.missing.most_common(3))
        of = "pairs has two scores" if set(sizes) == {2} else "questions has a score for each answer"
        raise RunFailed(f"none of the {len(sizes)} {of}: {reasons}")
    return [place for place, one in enumerate(whole) if one]


def compared_pairs(values: Sequence[float | None], preferences: Sequence[Preference], kept: Sequence[int]) -> Compared:
    """How the kept preferences come out."""
    rows = by_row(values, [2] * len(preferences))
    chosen, rejected = np.array([rows[place] for place in kept], np.float64).T
    return compared(chosen, rejected, [preferences[place] for place in kept])


def by_row(values: Sequence[float | None], sizes: Sequence[int]) -> list[Sequence[float | None]]:
    """Into rows of so many."""
    ends = list(accumulate(sizes))
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def unweighted(whole: Compared) -> Agreement:
    """Each judgement counts alike."""
    return weighed([(1.0, whole)], len(whole.right))


def places_by_name(names: Sequence[Name | None]) -> dict[Name, list[int]]:
    """Where each name stands, in the order of the names; of None there is no entry."""
    found: dict[Name, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        if name is not None:
            found[name].append(place)
    return {name: found[name] for name in sorted(found, key=str)}


def _each(whole: Compared, of: Mapping[str, Sequence[int]]) -> dict[str, Agreement]:
    return {name: unweighted(whole.take(where)) for name, where in of.items()}


def _group(preference: Preference, unseen: Collection[str] | None) -> str | None:
    if unseen is None:
        return None
    return UNSEEN if preference.annotator in unseen else SEEN


def _over_people(people: Sequence[Agreement]) -> Estimate | None:
    """Its standard error is over people: others might have been unseen."""
    return mean([person.accuracy.value for person in people]) if people else None
