"""Means and how far they may be off: the standard error that stands beside every figure."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n things, independent but where they were grouped. In text: f"{estimate:.2f}" is "0.71 ± 0.01"."""

    value: float
    standard_error: float | None = None  # None where it is unknown: of one thing, or where none was stated
    n: int | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, by the normal approximation."""
        if self.standard_error is None:
            return None
        return self.value - Z95 * self.standard_error, self.value + Z95 * self.standard_error

    @property
    def errors(self) -> float | None:
        """How many standard errors the value is from 0; None where that is unknown or 0."""
        return self.value / self.standard_error if self.standard_error else None

    def scaled(self, factor: float) -> "Estimate":
        """In another unit, such as per cent."""
        error = None if self.standard_error is None else factor * self.standard_error
        return Estimate(factor * self.value, error, self.n)

    def __format__(self, spec: str) -> str:
        value = format(self.value, spec)
        return value if self.standard_error is None else f"{value} ± {format(self.standard_error, spec.lstrip('+'))}"


def mean(values: npt.ArrayLike) -> Estimate:
    """The mean of at least one value, and its standard error s / sqrt(n), s with n - 1."""
    array = np.asarray(values, np.float64)
    n = len(array)
    return Estimate(float(array.mean()), math.sqrt(array.var(ddof=1) / n) if n > 1 else None, n)


def paired_difference(after: npt.ArrayLike, before: npt.ArrayLike) -> Estimate:
    """The mean difference of two measurements (n,) of the same things: what they share cancels out."""
    return mean(np.asarray(after, np.float64) - np.asarray(before, np.float64))


def clustered_mean(values: npt.ArrayLike, groups: Sequence[Hashable]) -> Estimate:
    """The mean of at least one value (n,), where values of one group (n,) hang together and groups do not.

    Its standard error is that of the groups' sums about the mean; of groups of one it is `mean`'s. Of a single group it
    is unknown. The estimate's n counts the values. (K.-Y. Liang and S. L. Zeger, Longitudinal data analysis using
    generalized linear models, 1986.)
    """
    return weighted_means([(1.0, values, groups)])


def weighted_means(parts: Sequence[tuple[float, npt.ArrayLike, Sequence[Hashable]]]) -> Estimate:
    """The sum of weight x mean over parts: a weight, at least one value (n,), and their groups (n,).

    A group may have values in several parts, and what it adds to all of them hangs together; of parts that share no
    group the squared errors add up. The error is unknown where one part has a single group. n counts all values.
    """
    arrays = [np.asarray(values, np.float64) for _, values, _ in parts]
    value = sum(weight * array.mean() for (weight, _, _), array in zip(parts, arrays, strict=True))
    n = sum(map(len, arrays))
    if any(len(set(groups)) < 2 for _, _, groups in parts):
        return Estimate(float(value), None, n)
    pulls = [weight * _pulls(array, groups) for (weight, _, groups), array in zip(parts, arrays, strict=True)]
    sums = group_sums(np.concatenate(pulls), [group for _, _, groups in parts for group in groups])
    return Estimate(float(value), math.sqrt((sums**2).sum()), n)


def _pulls(values: npt.NDArray[np.float64], groups: Sequence[Hashable]) -> npt.NDArray[np.float64]:
    """(n,) how far each value moves the mean of all, scaled as the sample variance is: by m / (m - 1) of m groups."""
    many = len(set(groups))
    pulls: npt.NDArray[np.float64] = (values - values.mean()) * (math.sqrt(many / (many - 1)) / len(values))
    return pulls


def group_sums(values: npt.ArrayLike, groups: Sequence[Hashable]) -> npt.NDArray[np.float64]:
    """Of values (n,) in groups (n,), in the order in which these come first."""
    places = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    weights = np.asarray(values, np.float64)
    return np.bincount([places[group] for group in groups], weights).astype(np.float64)
