"""How far people agree: beyond chance, by Krippendorff's alpha, for each kind of task; and each person with the others.

1: everybody says the same. 0: no more alike than by chance. Below: less than that. (K. Krippendorff, Content Analysis,
2nd ed. 2004, ch. 11; by the package of that name.) It takes any number of people, of whom each judged what they judged.

    what is compared                                                            values
    thumbs                                                                      down, up: alike or not
    stars                                                                       1 to 5: near ones differ less
    ranks, of each two answers: the first is better, as good, or worse          -1, 0, 1: the same

A pair of answers has no first: each is counted both ways round. Else alpha would depend on whose answers a file names
first.

Its standard error is the spread of alphas of tasks drawn anew, with replacement: those of one task hang together.

With the others a person agrees where that person's value is the one that most others gave. Where they are split there
is no such value, and stars are left out: near ones would be as wrong as far ones.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Literal

import numpy as np
import numpy.typing as npt
from krippendorff import alpha as krippendorff_alpha

from plaudit.feedback.records import Judgement
from plaudit.feedback.tasks import Kind, Ranks, Rating, Thumb
from plaudit.uncertainty import Estimate, mean

RESAMPLED = 200
"""Times, for the standard error."""
VALUES = {Kind.THUMBS: (-1, 1), Kind.RATING: (1, 2, 3, 4, 5), Kind.COMPARE: (-1, 0, 1), Kind.RANK: (-1, 0, 1)}
"""Of what can be alike: demonstrations cannot."""

Counts = npt.NDArray[np.int64]
"""(units, values): how many people gave each value to each unit."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one kind of task."""

    alpha: Estimate | None  # None: all that was said is one value, or by one person
    tasks: int  # that two people judged at least
    people: int


def agreements(judgements: Iterable[Judgement], *, seed: int = 0) -> dict[Kind, Agreement]:
    """By kind, of the kinds that there are."""
    by_kind: dict[Kind, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        if judgement.task.kind in VALUES:
            by_kind[judgement.task.kind].append(judgement)
    return {kind: _agreement(kind, found, np.random.default_rng(seed)) for kind, found in by_kind.items()}


def agreements_with_others(judgements: Iterable[Judgement]) -> dict[str, Estimate]:
    """By person, the share of units in which they agree with most of the others; the mean over tasks."""
    given = [one for one in judgements if one.task.kind in VALUES and one.task.kind is not Kind.RATING]
    counts: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for judgement in given:
        for unit, value in _values(judgement):
            counts[judgement.task.key, unit][value] += 1
    shares: dict[str, list[float]] = defaultdict(list)
    for judgement in given:
        agreed = [_agrees(counts[judgement.task.key, unit], value) for unit, value in _values(judgement)]
        if known := [one for one in agreed if one is not None]:
            shares[judgement.person].append(fmean(known))
    return {person: mean(of_tasks) for person, of_tasks in shares.items()}


def _agrees(counts: Counter[int], mine: int) -> bool | None:
    """With what most others say; None where they are split, or there are none."""
    others = {value: count - (value == mine) for value, count in counts.items()}
    most = max(others.values())
    chosen = [value for value, count in others.items() if count == most]
    return chosen[0] == mine if most and len(chosen) == 1 else None


def _agreement(kind: Kind, judgements: list[Judgement], random: np.random.Generator) -> Agreement:
    counts: dict[str, dict[int, Counts]] = defaultdict(lambda: defaultdict(lambda: np.zeros(len(VALUES[kind]), int)))
    for judgement in judgements:
        for unit, value in _values(judgement):
            counts[judgement.task.key][unit][VALUES[kind].index(value)] += 1
    tasks = [_both_ways(kind, np.array(list(units.values()))) for units in counts.values()]
    compared = [units for units in tasks if units.sum(axis=1).max() > 1]
    people = len({judgement.person for judgement in judgements})
    return Agreement(_estimate(kind, compared, random), len(compared), people)


def _both_ways(kind: Kind, units: Counts) -> Counts:
    return np.concatenate([units, units[:, ::-1]]) if kind in (Kind.COMPARE, Kind.RANK) else units


def _values(judgement: Judgement) -> Iterator[tuple[int, int]]:
    """(unit within the task, value)."""
    match judgement.verdict:
        case Thumb(up):
            yield 0, 1 if up else -1
        case Rating(stars):
            yield 0, stars
        case Ranks(ranks):
            for unit, (first, second) in enumerate(combinations(ranks, 2)):
                yield unit, (second > first) - (second < first)


def _estimate(kind: Kind, tasks: list[Counts], random: np.random.Generator) -> Estimate | None:
    units = np.concatenate(tasks) if tasks else np.zeros((0, len(VALUES[kind])), int)
    value = _alpha(kind, units)
    if value is None:
        return None
    of_task = np.repeat(np.arange(len(tasks)), [len(one) for one in tasks])
    others = []
    for _ in range(RESAMPLED):
        times = np.bincount(random.integers(len(tasks), size=len(tasks)), minlength=len(tasks))
        others.append(_alpha(kind, np.repeat(units, times[of_task], axis=0)))
    known = [one for one in others if one is not None]
    return Estimate(value, float(np.std(known, ddof=1)) if len(known) > 1 else None, len(tasks))


def _alpha(kind: Kind, counts: Counts) -> float | None:
    """Of units (n, values)."""
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return None
    level: Literal["nominal", "ordinal"] = "nominal" if kind is Kind.THUMBS else "ordinal"
    return float(krippendorff_alpha(value_counts=counts, value_domain=VALUES[kind], level_of_measurement=level))
