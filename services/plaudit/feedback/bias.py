"""What else than quality people may have gone by: which answer is longer, which was shown first.

Of each judgement that puts answers in order, the share of its pairs in which the longer one, or the one shown earlier,
is the better one; a tie counts half. Where length or place says nothing, the mean over judgements is a half. Answers
are shown in a random order, so a mean above it is people's doing for places. Longer answers may well be better ones:
how far somebody goes by length is seen beside the others.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, fmean, median

from plaudit.feedback.records import Judgement
from plaudit.feedback.tasks import Ranks
from plaudit.uncertainty import Estimate, mean

CHANCE = 0.05
"""That anybody at all is said to be off where nobody is."""
MEDIAN = math.sqrt(math.pi / 2)
"""The standard error of a median, where a mean's is 1."""


@dataclass(frozen=True, slots=True)
class Bias:
    """Shares, a half where it says nothing; None of no such pair."""

    longer: Estimate | None
    earlier: Estimate | None


def bias(judgements: Iterable[Judgement]) -> Bias:
    """Over judgements, each of which counts once."""
    ranked = [judgement for judgement in judgements if isinstance(judgement.verdict, Ranks)]
    here = [one for one in ranked if one.seconds is not None]  # elsewhere nobody knows what was shown first
    return Bias(_mean(_share(one, _lengths(one)) for one in ranked), _mean(_share(one, _places(one)) for one in here))


def off(biases: Mapping[str, Bias]) -> dict[str, tuple[str, ...]]:
    """Who is further off than chance is likely to put anybody: `earlier` from a half, `longer` from all the others."""
    errors = NormalDist().inv_cdf(1.0 - CHANCE / (4 * max(len(biases), 1)))  # two sides of two shares of everybody
    found = {}
    for person, mine in biases.items():
        others = _median([one.longer for name, one in biases.items() if name != person])
        compared = {"longer": (mine.longer, others), "earlier": (mine.earlier, Estimate(0.5))}
        found[person] = tuple(
            name for name, (own, expected) in compared.items() if own and expected and _errors(own, expected) > errors
        )
    return found


def _errors(mine: Estimate, expected: Estimate) -> float:
    """How many standard errors it is off, with the spread that it has about what is expected: of few alike not 0."""
    n = mine.n or 1
    difference = mine.value - expected.value
    spread = ((mine.standard_error or 0.0) ** 2 * (n - 1) + difference**2) / n + (expected.standard_error or 0.0) ** 2
    return abs(difference) / math.sqrt(spread) if difference else 0.0


def _median(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """Of people, each alike: one of them who is far off does not put the others off."""
    known = [one for one in estimates if one is not None]
    if not known:
        return None
    error = MEDIAN * median(one.standard_error or 0.0 for one in known) / math.sqrt(len(known))
    return Estimate(median(one.value for one in known), error, len(known))


def _mean(shares: Iterable[float | None]) -> Estimate | None:
    known = [share for share in shares if share is not None]
    return mean(known) if known else None


def _share(judgement: Judgement, more: list[int]) -> float | None:
    """Of the pairs in which one answer has more of it than the other, those in which it is the better one."""
    assert isinstance(judgement.verdict, Ranks)
    ranks = judgement.verdict.ranks
    unequal = [(i, j) for i, j in combinations(range(len(ranks)), 2) if more[i] != more[j]]
    pairs = [(i, j) if more[i] > more[j] else (j, i) for i, j in unequal]
    return fmean((1 + (ranks[i] < ranks[j]) - (ranks[i] > ranks[j])) / 2 for i, j in pairs) if pairs else None


def _lengths(judgement: Judgement) -> list[int]:
    return [len(answer.text) for answer in judgement.task.answers]


def _places(judgement: Judgement) -> list[int]:
    """Earlier is more."""
    return [-judgement.shown.index(at) for at in range(len(judgement.task.answers))]
