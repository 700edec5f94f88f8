"""Which responses are worth asking people about first: those that an ensemble of reward models does not agree on.

    scores (members, responses)          [[1.0, 0.0, 2.0],
                                          [0.0, 0.5, 2.0]]
    difference of two, by each member    first - second: 1.0, -0.5      first - third: -1.0, -2.0
    how far they are apart on it         their standard deviation: 1.06                0.71

Where members differ about which of two is better, a person's answer says most (query by committee). One shift of all of
a member's scores says nothing about pairs, and changes nothing here.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

Scores = Sequence[Sequence[float]]
"""(members, responses)"""


def apart(scores: Scores, first: int, second: int) -> float:
    """How far members are apart on which of two is better: in units of the score."""
    array = np.asarray(scores, np.float64)
    return float(np.std(array[:, first] - array[:, second], ddof=1))


def most_uncertain_pair(scores: Scores) -> tuple[int, int]:
    """Places of the two responses on which members are furthest apart."""
    return max(combinations(range(len(scores[0])), 2), key=lambda pair: apart(scores, *pair))


def priority(scores: Scores) -> float:
    """Of all pairs the mean; of a single response, how far members are apart on its score."""
    pairs = list(combinations(range(len(scores[0])), 2))
    if not pairs:
        return float(np.std(np.asarray(scores, np.float64)[:, 0], ddof=1))
    return float(np.mean([apart(scores, *pair) for pair in pairs]))
