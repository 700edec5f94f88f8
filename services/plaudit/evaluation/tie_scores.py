"""RewardBench 2's score of ties: right answers should score above wrong ones, and about alike.

Questions come in twos of one number: a reference with one right answer (ref:7), and one with several (tied:7).

    margin      of a question, the lowest score of a right answer less the highest of a wrong one
    spread      of a tied question, the highest score of a right answer less the lowest
    accurate    margin > 0
    apart       margin > spread:                            rights lie closer together than they do to the wrong ones
    apart_hard  min(margin, the reference's) > spread
    closeness   tanh(min(margin, the reference's) / spread - 1), of those that have a spread

    score       0.3 accurate(ref) + 0.3 accurate(tied) + 0.2 apart + 0.2 apart_hard + 0.01 closeness

where each name is a mean: accurate over all references or tied questions, the others over those of which both are there
and the tied one has at least two right answers.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plaudit.evaluation.benchmark import Aggregate
from plaudit.preferences.agreement import Compared

Array = npt.NDArray[np.float64]


WEIGHTS = (0.3, 0.3, 0.2, 0.2, 0.01)


class Kind(enum.Enum):
    """Which of two questions."""

    REFERENCE = enum.auto()
    TIED = enum.auto()


@dataclass(frozen=True, slots=True)
class TieRow:
    """One question as it was scored; the first `correct` answers are right."""

    kind: Kind
    number: int
    correct: int
    scores: Sequence[float]
    lengths: Sequence[float]  # the length rule's scores

    def margin(self, by: Sequence[float]) -> float:
        """By scores, or by lengths."""
        return min(by[: self.correct]) - max(by[self.correct :])

    def spread(self, by: Sequence[float]) -> float:
        """As `margin`."""
        return max(by[: self.correct]) - min(by[: self.correct])


Rows = Mapping[int, TieRow]
"""By number."""
Of = Callable[[TieRow], Sequence[float]]


def tie_score(rows: Sequence[TieRow]) -> Aggregate | None:
    """None where no two questions belong together."""
    references, tied = ({row.number: row for row in rows if row.kind is kind} for kind in Kind)
    numbers = [number for number, row in tied.items() if number in references and row.correct > 1]
    if not numbers:
        return None
    groups = [list(references), list(tied), numbers, numbers, numbers]
    scored, longer = (_measured(of, references, tied, numbers) for of in (_scores, _lengths))
    parts = [Compared(right, right, rule, group) for right, rule, group in zip(scored, longer, groups, strict=True)]
    return Aggregate(list(zip(WEIGHTS, parts, strict=True)), len(rows))


def _measured(of: Of, references: Rows, tied: Rows, numbers: Sequence[int]) -> list[Array]:
    """What the score is the means of, in the order of `WEIGHTS`."""
    accurate = [np.array([row.margin(of(row)) > 0 for row in half.values()], np.float64) for half in (references, tied)]
    margin, reference = (np.array([half[at].margin(of(half[at])) for at in numbers]) for half in (tied, references))
    spread, hard = np.array([tied[at].spread(of(tied[at])) for at in numbers]), np.minimum(margin, reference)
    apart = [(one > spread).astype(np.float64) for one in (margin, hard)]
    return [*accurate, *apart, _closeness(hard, spread)]


def _closeness(hard: Array, spread: Array) -> Array:
    """(n,) whose mean and standard error are those of the k questions that have a spread; 0 where none has.

    Others are set to that mean, so that they pull it nowhere, and these pull it by 1 / k of their distance, not 1 / n.
    """
    there = spread > 0
    values = np.zeros_like(hard)
    if there.any():
        found = np.tanh(hard[there] / spread[there] - 1)
        values[:] = found.mean()
        values[there] += (found - found.mean()) * (len(values) / len(found))
    return values


def _scores(row: TieRow) -> Sequence[float]:
    return row.scores


def _lengths(row: TieRow) -> Sequence[float]:
    return row.lengths
