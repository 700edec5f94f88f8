"""What else than quality people may have gone by: which answer is longer, which was shown first.

Of each judgement that puts answers in order, the share of its pairs in which the longer one, or the one shown earlier,
is the better one; a tie counts half. Where length or place says nothing, the mean over judgements is a half. Answers
are shown in a random order, so a mean above it is people's doing for places; longer answers may well be better ones.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from plaudit.feedback.store import Judgement
from plaudit.feedback.tasks import Ranks
from plaudit.uncertainty import Estimate, mean


@dataclass(frozen=True, slots=True)
class Bias:
    """Shares, a half where it says nothing; None of no such pair."""

    longer: Estimate | None
    earlier: Estimate | None


def bias(judgements: Iterable[Judgement]) -> Bias:
    """Over judgements, each of which counts once."""
    ranked = [judgement for judgement in judgements if isinstance(judgement.verdict, Ranks)]
    return Bias(*(_mean(_share(one, more(one)) for one in ranked) for more in (_lengths, _places)))


def bias_by_person(judgements: Iterable[Judgement]) -> dict[str, Bias]:
    """Of each."""
    theirs: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        theirs[judgement.person].append(judgement)
    return {person: bias(said) for person, said in theirs.items()}


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
