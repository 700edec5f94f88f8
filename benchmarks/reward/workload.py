"""What is asked: ragged texts, requests as bytes, arrival times. From seeds alone, so every contender gets the same."""

import itertools
from collections.abc import Iterable

import numpy as np

from plaudit_protos.reward.v1 import reward_pb2 as pb

Pair = tuple[str, str]

SYLLABLES = [consonant + vowel for consonant in "bcdfgklmnprstvz" for vowel in "aeiou"]
WORDS = 20_000
RAGGED, SHORTEST, LONGEST = 0.7, 4, 200
"""The lengths, in words: lognormal around the median, with this standard deviation of the logarithm; then clipped."""


def words() -> list[str]:
    """Made-up words of two to four syllables, the most frequent ones first."""
    rng = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < WORDS:
        found["".join(rng.choice(SYLLABLES, rng.integers(2, 5)))] = None
    return list(found)


def pairs(seed: int, count: int, median: float) -> list[Pair]:
    """Prompts and responses, together `median` words in the median, half of them each; no two are the same."""
    rng, vocabulary = np.random.default_rng(seed), words()
    lengths = np.clip(rng.lognormal(np.log(median), RAGGED, count), SHORTEST, LONGEST).astype(int)
    return [_pair(vocabulary, rng, int(length)) for length in lengths]


def _pair(vocabulary: list[str], rng: np.random.Generator, length: int) -> Pair:
    """Word r as often as 1 / r: the logarithm of its rank is uniform."""
    ranks = np.exp(rng.uniform(0, np.log(WORDS), length)).astype(int)
    text = [vocabulary[min(rank, WORDS) - 1] for rank in ranks]
    return " ".join(text[: length // 2]), " " + " ".join(text[length // 2 :])


def requests(asked: Iterable[Pair], items: int = 1) -> list[bytes]:
    """ScoreRequests of `items` pairs each, serialised."""
    wires = (pb.ScoreItem(text=pb.TextPair(prompt=prompt, response=response)) for prompt, response in asked)
    found = []
    while some := list(itertools.islice(wires, items)):
        found.append(pb.ScoreRequest(items=some).SerializeToString())
    return found


def arrivals(seed: int, rate: float, seconds: float) -> list[float]:
    """A Poisson process: seconds from the start, `rate` a second."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(2 * rate * seconds) + 100)
    times = np.cumsum(gaps)
    return [float(time) for time in times[times < seconds]]
