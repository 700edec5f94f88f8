"""Thumbs, rows of {prompt, completion, label} or {prompt, response, thumb}, and how well scores tell up from down.

The first shape is trl's KTOTrainer's, the completion a text or a list of one assistant message. A label or thumb is
true or false, 1 or 0 (or -1), "up" or "down". `annotator` and `weight` may stand beside it, as beside a preference.

A model of thumbs is to beat the base rate: whoever always says how many thumbs are up, and knows no text.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plaudit.preferences.reading import Side, text_or_none, weight
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.uncertainty import Estimate, clustered_mean, group_sums

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
VALUES = {"up": True, "down": False, 1: True, 0: False, -1: False}  # True is 1, False is 0


@dataclass(frozen=True, slots=True)
class Thumb:
    """Somebody found one response good, or not."""

    side: Side
    up: bool
    where: str  # the row it comes from, for errors
    annotator: str | None = None
    weight: float = 1.0

    @property
    def sides(self) -> tuple[Side, ...]:
        """As other judgements have several."""
        return (self.side,)


def read_thumbs(data: DataSettings) -> list[Thumb]:
    """All thumbs of the data; ConfigurationError names the first row that is none."""
    return [_thumb(row) for row in read_rows(data)]


def _thumb(row: Row) -> Thumb:
    up = said_up(row, "label" if row.get("thumb") is None else "thumb")
    return Thumb(_side(row), up, row.where, text_or_none(row, "annotator"), weight(row))


def said_up(row: Row, field: str) -> bool:
    """A field that is a thumb."""
    given = row.get(field)
    if not isinstance(given, str | int) or given not in VALUES:
        raise row.error(field, "is none of true, false, 'up', 'down', 1, 0, -1")
    return VALUES[given]


def _side(row: Row) -> Side:
    field = "completion" if row.get("response") is None else "response"
    if not isinstance(row.get(field), list):
        return Side(row.prompt(), row.text(field))
    turns = row.conversation(field)
    if len(turns) > 1:
        raise row.error(field, f"has {len(turns)} messages: give the assistant's alone, the others in 'prompt'")
    return Side(row.prompt(), turns[0].content)


@dataclass(frozen=True, slots=True)
class Discrimination:
    """Log-odds of up against thumbs (n at least 2)."""

    log_loss: Estimate  # nats
    base_log_loss: Estimate  # of the share of thumbs up in the training data, for all alike
    gain: Estimate  # the base rate's log loss less the model's, thumb by thumb
    accuracy: Estimate  # log-odds above 0 say up; 0 counts half
    base_accuracy: Estimate  # always what most said in the training data
    auc: Estimate | None  # how often an up has higher log-odds than a down, a tie half; None where all are alike


def discrimination(
    log_odds: npt.ArrayLike, up: npt.ArrayLike, base_rate: float, groups: Sequence[Hashable]
) -> Discrimination:
    """`log_odds` (n,) of `up` (n,); `base_rate` is between 0 and 1, both left out. Standard errors are over `groups`
    (n,), see `together`."""
    odds, said = np.asarray(log_odds, np.float64), np.asarray(up, bool)
    losses = np.logaddexp(0.0, np.where(said, -odds, odds))
    base = -np.log(np.where(said, base_rate, 1.0 - base_rate))
    right = 0.5 * (1.0 + np.sign(odds) * np.where(said, 1.0, -1.0))
    return Discrimination(
        log_loss=clustered_mean(losses, groups),
        base_log_loss=clustered_mean(base, groups),
        gain=clustered_mean(base - losses, groups),
        accuracy=clustered_mean(right, groups),
        base_accuracy=clustered_mean(said == (base_rate >= 0.5), groups),
        auc=_auc(odds, said, groups),
    )


def _auc(odds: Array, up: Bools, groups: Sequence[Hashable]) -> Estimate | None:
    """By the place of each value among the other kind, and so its standard error: of groups of one thumb that
    of DeLong et al. (1988), else as N. A. Obuchowski has it (Nonparametric analysis of clustered ROC curve data, 1997).
    """
    if min(up.sum(), (~up).sum()) < 2:
        return None
    of_ups, of_downs = _places(odds[up], odds[~up]), 1.0 - _places(odds[~up], odds[up])
    auc = float(of_ups.mean())
    adds = np.zeros((2, len(odds)))  # to the error: as one of the ups, as one of the downs
    adds[0, up], adds[1, ~up] = (of_ups - auc) / len(of_ups), (of_downs - auc) / len(of_downs)
    sums = np.array([group_sums(some, groups) for some in adds])
    many = [int((group_sums(kind, groups) > 0).sum()) for kind in (up, ~up)]
    if min(many) < 2:
        return Estimate(auc, None, len(odds))
    ups, downs, both = (count / (count - 1) for count in (*many, sums.shape[1]))
    variance = ups * sums[0] @ sums[0] + downs * sums[1] @ sums[1] + 2 * both * sums[0] @ sums[1]
    return Estimate(auc, float(variance**0.5), len(odds))


def _places(values: Array, others: Array) -> Array:
    """(n,) the share of `others` below each value, equal ones half."""
    ordered = np.sort(others)
    below, not_above = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    places: Array = (below + not_above) / (2 * len(others))
    return places
