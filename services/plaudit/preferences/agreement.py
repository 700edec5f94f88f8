"""How often scores agree with preferences, with what uncertainty, and against the rule 'the longer answer is better'.

An accuracy alone says little: on many data sets the longer answer wins 60 % of the time. So the length rule stands
beside every figure, and their difference is taken pair by pair: both are measured on the same preferences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plaudit.preferences.reading import Preference
from plaudit.uncertainty import Estimate, clustered_mean


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


def agreement(chosen: npt.ArrayLike, rejected: npt.ArrayLike, preferences: Sequence[Preference]) -> Agreement:
    """`chosen` and `rejected` are the scores (n,) of the two sides of `preferences` (n at least 1)."""
    right, longer = outcomes(chosen, rejected), length_outcomes(preferences)
    prompts = [preference.chosen.prompt for preference in preferences]
    return Agreement(
        accuracy=clustered_mean(right, prompts),
        accuracy_ties_wrong=clustered_mean(np.floor(right), prompts),
        length_rule=clustered_mean(longer, prompts),
        gain=clustered_mean(right - longer, prompts),
        ties=int((right == 0.5).sum()),
    )
