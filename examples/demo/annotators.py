"""Simulated people who compare two replies, and the best that any reward model can do with their labels.

An annotator prefers reply A to reply B with the probability that Bradley and Terry give:

    P(A over B) = sigmoid((worth(A) - worth(B)) / noise),    worth = gold utility + length_bias * words

Each pair is labelled by one of the panel, drawn at random. The panel's preference is therefore the mean of its members'
probabilities, and no scorer, however good, agrees with its labels more often than `bayes_accuracy`.
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from utility import utility


class Annotator(NamedTuple):
    """How one person judges."""

    name: str
    noise: float  # Bradley-Terry temperature, in units of utility
    length_bias: float = 0.0  # utility per word that length seems to be worth to them


PANEL = (
    Annotator("careful", noise=0.25),
    Annotator("average", noise=0.5),
    Annotator("hasty", noise=1.0),
    Annotator("fond of long replies", noise=0.5, length_bias=0.1),
)


class Pair(NamedTuple):
    """Two replies to one prompt."""

    prompt: str
    first: str
    second: str


class Label(NamedTuple):
    """One annotator's choice."""

    pair: Pair
    annotator: str
    prefers_first: bool

    def as_row(self) -> dict[str, str]:
        """Preference data as `plaudit reward-model` reads it."""
        chosen, rejected = (
            (self.pair.first, self.pair.second) if self.prefers_first else (self.pair.second, self.pair.first)
        )
        return {"prompt": self.pair.prompt, "chosen": chosen, "rejected": rejected, "annotator": self.annotator}


def preference(annotator: Annotator, pair: Pair) -> float:
    """P(this annotator prefers the first reply)."""
    margin = _worth(annotator, pair.prompt, pair.first) - _worth(annotator, pair.prompt, pair.second)
    return 0.5 * (1.0 + math.tanh(0.5 * margin / annotator.noise))  # the sigmoid, without overflow


def panel_preference(pair: Pair, panel: Sequence[Annotator] = PANEL) -> float:
    """P(a random member of the panel prefers the first reply)."""
    return sum(preference(annotator, pair) for annotator in panel) / len(panel)


def label(pair: Pair, rng: random.Random, panel: Sequence[Annotator] = PANEL) -> Label:
    """The choice of a random member of the panel."""
    annotator = rng.choice(panel)
    return Label(pair, annotator.name, rng.random() < preference(annotator, pair))


def bayes_accuracy(pairs: Sequence[Pair], panel: Sequence[Annotator] = PANEL) -> float:
    """The expected agreement with the panel's labels of the scorer that knows the panel's every probability.

    On each pair the best that can be done is to name the reply that the panel prefers: right with max(p, 1 - p).
    """
    chances = [panel_preference(pair, panel) for pair in pairs]
    return sum(max(chance, 1.0 - chance) for chance in chances) / len(chances)


def _worth(annotator: Annotator, prompt: str, response: str) -> float:
    return utility(prompt, response) + annotator.length_bias * len(response.split())
