"""How far a model in a shorter number format is from itself in float32: said at start, not guessed."""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

from plaudit.reward.items import Drift


def drift(exact: Sequence[float], found: Sequence[float]) -> Drift:
    """Of `found`, for the same references as `exact`, at least one. Raises ValueError for NaN and infinity."""
    differences = [abs(one - other) for one, other in zip(exact, found, strict=True)]
    if not all(map(math.isfinite, differences)):
        raise ValueError("a reference has no finite score")
    pairs = math.comb(len(differences), 2)
    each = combinations(zip(exact, found, strict=True), 2)
    reordered = sum((a - b) * (x - y) < 0 or (a != b and x == y) for (a, x), (b, y) in each)
    return Drift(
        references=len(differences),
        largest=max(differences),
        rms=math.sqrt(statistics.fmean(difference**2 for difference in differences)),
        reordered=reordered / pairs if pairs else 0.0,
    )
