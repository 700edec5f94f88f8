"""Ratings, rows of {prompt, response, score}, and how well predicted scores fit them.

The prompt is a text or a list of messages; the score any number: stars from 1 to 5, a thumb as 1 or -1. `annotator` and
`weight` may stand beside it, as beside a preference.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from plaudit.preferences.reading import Side, text_or_none, weight
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.uncertainty import Estimate, clustered_mean

Array = npt.NDArray[np.float64]
FEWEST = 3
"""Ratings that a fit can be measured on."""


@dataclass(frozen=True, slots=True)
class Rating:
    """Somebody gave one response a score."""

    side: Side
    score: float
    where: str  # the row it comes from, for errors
    annotator: str | None = None
    weight: float = 1.0

    @property
    def sides(self) -> tuple[Side, ...]:
        """As other judgements have several."""
        return (self.side,)


def read_ratings(data: DataSettings) -> list[Rating]:
    """All ratings of the data; ConfigurationError names the first row that is none."""
    return [_rating(row) for row in read_rows(data)]


def _rating(row: Row) -> Rating:
    side = Side(row.prompt(), row.text("response"))
    return Rating(side, row.number("score"), row.where, text_or_none(row, "annotator"), weight(row))


@dataclass(frozen=True, slots=True)
class Fit:
    """Predictions against ratings (n at least FEWEST, not all alike)."""

    r_squared: Estimate  # 1 - squared error / variance: 0 for a constant guess, below 0 for a worse one
    correlation: Estimate | None  # Pearson's, whatever the predictions' unit; None where these are all alike


def fit(predicted: npt.ArrayLike, scores: npt.ArrayLike, groups: Sequence[Hashable]) -> Fit:
    """All (n,), predictions in the unit of the scores. Standard errors by the delta method, over `together`."""
    guess, truth = np.asarray(predicted, np.float64), np.asarray(scores, np.float64)
    return Fit(_r_squared(guess, truth, groups), _correlation(guess, truth, groups))


def _r_squared(guess: Array, truth: Array, groups: Sequence[Hashable]) -> Estimate:
    error, spread = (truth - guess) ** 2, (truth - truth.mean()) ** 2
    ratio = error.mean() / spread.mean()
    return _estimate(1.0 - ratio, (error - ratio * spread) / spread.mean(), groups)


def _correlation(guess: Array, truth: Array, groups: Sequence[Hashable]) -> Estimate | None:
    if np.ptp(guess) == 0:
        return None
    one, two = ((x - x.mean()) / x.std() for x in (guess, truth))
    correlation = (one * two).mean()
    return _estimate(correlation, one * two - correlation * (one**2 + two**2) / 2, groups)


def _estimate(value: float, influence: Array, groups: Sequence[Hashable]) -> Estimate:
    """`influence` (n,): what each row adds to n times the error."""
    return replace(clustered_mean(influence, groups), value=float(value))
