"""Simulated people who rate one reply, by stars or by a thumb, and the best that any reward model can do with stars.

    stars = 1 .. 5 nearest to  1 + 4 * (utility - lowest) / (highest - lowest) + leniency + noise * N(0, 1)
    thumb = 1 with probability sigmoid((utility - CONTENT) / DOUBT), else -1

Stars are given by one of the panel, drawn at random. No scorer, however good, predicts them better than their mean over
the panel, `expected_stars`.
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from utility import HIGHEST, LOWEST, utility

STARS = (1, 2, 3, 4, 5)
CONTENT, DOUBT = 3.0, 0.5  # in units of utility: where half of all customers give a thumb up, and how sharply


class Rater(NamedTuple):
    """How one person rates."""

    name: str
    leniency: float  # stars that everything gets beside what it is worth
    noise: float  # standard deviation, in stars


PANEL = (
    Rater("careful", 0.0, 0.3),
    Rater("kind", 0.6, 0.5),
    Rater("strict", -0.6, 0.5),
    Rater("hasty", 0.0, 1.0),
)


def rate(prompt: str, response: str, rng: random.Random, panel: Sequence[Rater] = PANEL) -> tuple[str, int]:
    """Who rated, and the stars."""
    rater = rng.choice(panel)
    impression = _worth(prompt, response) + rater.leniency + rng.gauss(0.0, rater.noise)
    return rater.name, min(STARS, key=lambda stars: abs(stars - impression))


def thumb(prompt: str, response: str, rng: random.Random) -> int:
    """1 or -1, by some customer."""
    pleased = 0.5 * (1.0 + math.tanh(0.5 * (utility(prompt, response) - CONTENT) / DOUBT))  # the sigmoid
    return 1 if rng.random() < pleased else -1


def expected_stars(prompt: str, response: str, panel: Sequence[Rater] = PANEL) -> float:
    """The mean over the panel and its noise."""
    worth = _worth(prompt, response)
    return sum(_expected(rater, worth) for rater in panel) / len(panel)


def _expected(rater: Rater, worth: float) -> float:
    """1, and one more star for each border that the impression is likely to be above."""
    borders = (stars + 0.5 for stars in STARS[:-1])
    return 1.0 + sum(_normal((worth + rater.leniency - border) / rater.noise) for border in borders)


def _worth(prompt: str, response: str) -> float:
    return 1.0 + 4.0 * (utility(prompt, response) - LOWEST) / (HIGHEST - LOWEST)


def _normal(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))
