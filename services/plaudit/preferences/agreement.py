"""How often scores agree with preferences, with what uncertainty, and against the rule 'the longer answer is better'.

An accuracy alone says little: on many data sets the longer answer wins 60 % of the time. So the length rule stands
beside every figure, and their difference is taken pair by pair: both are measured on the same preferences.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from plaudit.preferences.reading import Preference
from plaudit.uncertainty import Estimate, weighted_means

Array = npt.NDArray[np.float64]


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


@dataclass(frozen=True, slots=True)
class Compared:
    """How each of n judgements came out, n at least 1; arrays (n,) of numbers from 0, wrong, to 1, right."""

    right: Array  # a tie counts by halves
    strict: Array  # a tie counts as wrong
    longer: Array  # what the length rule makes of it
    groups: Sequence[Hashable]  # (n,) what hangs together: the prompts

    @property
    def ties(self) -> int:
        """That the two ways of counting differ by."""
        return int((self.right != self.strict).sum())

    def take(self, places: Sequence[int]) -> "Compared":
        """Of these judgements alone."""
        chosen = list(places)
        groups = [self.groups[place] for place in chosen]
        return Compared(self.right[chosen], self.strict[chosen], self.longer[chosen], groups)


def compared(chosen: npt.ArrayLike, rejected: npt.ArrayLike, preferences: Sequence[Preference]) -> Compared:
    """`chosen` and `rejected` are the scores (n,) of the two sides of `preferences` (n at least 1)."""
    right = outcomes(chosen, rejected)
    prompts = [preference.chosen.prompt for preference in preferences]
    return Compared(right, np.floor(right), length_outcomes(preferences), prompts)


def agreement(chosen: npt.ArrayLike, rejected: npt.ArrayLike, preferences: Sequence[Preference]) -> Agreement:
    """As `compared` takes them; every preference counts alike."""
    return weighed([(1.0, compared(chosen, rejected, preferences))], len(preferences))


def weighed(parts: Sequence[tuple[float, Compared]], n: int) -> Agreement:
    """The sum of weight x agreement over parts that are made of n judgements; for a mean, weights add up to 1.

    Parts may be about the same prompts: see `weighted_means`.
    """

    def over(value: Callable[[Compared], Array]) -> Estimate:
        return replace(weighted_means([(weight, value(part), part.groups) for weight, part in parts]), n=n)

    return Agreement(
        accuracy=over(lambda part: part.right),
        accuracy_ties_wrong=over(lambda part: part.strict),
        length_rule=over(lambda part: part.longer),
        gain=over(lambda part: part.right - part.longer),
        ties=sum(part.ties for _, part in parts),
    )
