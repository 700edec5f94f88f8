"""Bradley and Terry's model: how strong each of n things is, from how often one was preferred to another.

    P(people prefer i to j) = 1 / (1 + exp(s_j - s_i))        R. A. Bradley and M. E. Terry, Biometrika 39 (1952)

A tie is half a win of each. To what was said one tie is added of each thing with one of strength 0. It weighs little
where much was said. Without it whoever won everything would have no most likely strength, nor would things that were
never compared with each other, however indirectly (L. R. Ford, Am. Math. Monthly 64, 1957).

What is most likely is found by Newton's method. No step is longer than 1, and the likelihood has one maximum: it is
found whatever was said, where spectral and fixed-point methods give up or take thousands of rounds.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

TIE = 1.0
"""The weight of the tie that is added."""
MOST_STEPS = 200
CLOSE = 1e-9
"""Of a step that changes nothing any more."""


def strengths(wins: Array, tie: float = TIE, near: Array | None = None) -> Array:
    """(..., n) of `wins` (..., n, n): how often the row was preferred to the column; counts need not be whole.

    They are the same wherever the search begins; it is shorter `near` them.
    """
    found = np.zeros(wins.shape[:-1]) if near is None else near.copy()
    for _ in range(MOST_STEPS):
        gradient, curvature = _slope(wins, found, tie)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=-1, keepdims=True)
        found += step / (1.0 + longest)
        if longest.max(initial=0.0) < CLOSE:
            break
    return found


def standard_errors(wins: Array, found: Array, tie: float = TIE) -> Array:
    """(..., n) of each strength less the mean of all, by the likelihood's curvature: as if pairs were independent."""
    n = wins.shape[-1]
    centre = np.eye(n) - 1.0 / n
    covariance = centre @ np.linalg.inv(_slope(wins, found, tie)[1]) @ centre
    return np.asarray(np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1)))


def _slope(wins: Array, found: Array, tie: float) -> tuple[Array, Array]:
    """The log-likelihood's gradient (..., n) and curvature (..., n, n), the latter positive definite."""
    pairs = wins + wins.swapaxes(-1, -2)
    preferred = _logistic(found[..., :, None] - found[..., None, :])
    alone = _logistic(found)
    gradient = (wins - pairs * preferred).sum(axis=-1) + tie * (0.5 - alone)
    between = pairs * preferred * (1.0 - preferred)
    own = between.sum(axis=-1) + tie * alone * (1.0 - alone)
    return gradient, own[..., None] * np.eye(wins.shape[-1]) - between


def _logistic(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
