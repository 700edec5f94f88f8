"""A Bradley-Terry model on hashed bags of words: the least that a reward model with an encoder has to beat.

score(response) = w . log(1 + counts), w by maximum likelihood with an L2 penalty that is chosen by cross-validation
inside the training part.
"""

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from plaudit.preferences.reading import Preference

BUCKETS = 1 << 15
PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
Weights = npt.NDArray[np.float64]


def features(preferences: Sequence[Preference]) -> sparse.csr_array:
    """(n, BUCKETS): chosen less rejected."""
    rows = [_bag(p.chosen.response, 1.0) + _bag(p.rejected.response, -1.0) for p in preferences]
    data = [value for row in rows for _, value in row]
    columns = [bucket for row in rows for bucket, _ in row]
    starts = np.cumsum([0, *(len(row) for row in rows)])
    return sparse.csr_array((data, columns, starts), shape=(len(rows), BUCKETS))


def fit(differences: sparse.csr_array, penalty: float) -> Weights:
    """Minimises mean log(1 + exp(-w . x)) + penalty / 2 |w|^2."""

    def loss(weights: Weights) -> tuple[float, Weights]:
        margins = differences @ weights
        gradient = -(differences.T @ (1.0 / (1.0 + np.exp(margins)))) / len(margins) + penalty * weights
        return float(np.logaddexp(0, -margins).mean() + penalty / 2 * weights @ weights), gradient

    found: Weights = optimize.minimize(loss, np.zeros(BUCKETS), jac=True, method="L-BFGS-B").x
    return found


def fit_best(differences: sparse.csr_array, folds: npt.NDArray[np.int64]) -> Weights:
    """The penalty with the best held-out likelihood over `folds` (n,), then a fit to everything."""

    def held_out_loss(penalty: float) -> float:
        return sum(
            float(np.logaddexp(0, -(differences[folds == fold] @ fit(differences[folds != fold], penalty))).sum())
            for fold in np.unique(folds)
        )

    return fit(differences, min(PENALTIES, key=held_out_loss))


def _bag(text: str, sign: float) -> list[tuple[int, float]]:
    counts = Counter(zlib.crc32(word.encode()) % BUCKETS for word in re.findall(r"[\w']+|[^\w\s]", text.lower()))
    return [(bucket, sign * float(np.log1p(count))) for bucket, count in counts.items()]
