"""How often scores agree with preferences, with what uncertainty, and against the rule 'the longer answer is better'.

An accuracy alone says little: on many data sets the longer answer wins 60 % of the time. So the length rule stands
beside every figure, and their difference is taken pair by pair: both are measured on the same preferences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plaudit.finetune.preferences import Preference

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n independent pairs."""

    value: float
    standard_error: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by the normal approximation."""
        return self.value - Z95 * self.standard_error, self.value + Z95 * self.standard_error


@dataclass(frozen=True, slots=True)
class Agreement:
    """One set of preferences."""

    accuracy: Estimate  # a tie counts half
    accuracy_ties_wrong: Estimate  # a tie counts as wrong, as RewardBench has it
    length_rule: Estimate  # the longer response is preferred; equal lengths count half
    gain: Estimate  # accuracy less length rule, pair by pair
    ties: int


def outcomes(chosen: npt.ArrayLike, rejected: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(n,) 1 where the chosen one scores higher, 0.5 where they tie, 0 where lower."""
    difference = np.asarray(chosen, np.float64) - np.asarray(rejected, np.float64)
    return 0.5 * (np.sign(difference) + 1.0)


def length_outcomes(preferences: Sequence[Preference]) -> npt.NDArray[np.float64]:
    """(n,) the outcomes of scoring a response by its characters."""
    return outcomes([len(p.chosen.response) for p in preferences], [len(p.rejected.response) for p in preferences])


def estimate(values: npt.NDArray[np.float64]) -> Estimate:
    """The mean and its standard error, n - 1 in the variance; 0 where one value leaves it unknown."""
    n = len(values)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0, n)


def agreement(chosen: npt.ArrayLike, rejected: npt.ArrayLike, preferences: Sequence[Preference]) -> Agreement:
    """`chosen` and `rejected` are the scores (n,) of the two sides of `preferences` (n at least 1)."""
    right, longer = outcomes(chosen, rejected), length_outcomes(preferences)
    return Agreement(
        accuracy=estimate(right),
        accuracy_ties_wrong=estimate(np.floor(right)),
        length_rule=estimate(longer),
        gain=estimate(right - longer),
        ties=int((right == 0.5).sum()),
    )
