"""The server that wastes nothing, as arithmetic: the same arrivals, forwards that take what they take, and no more.

It tokenises, queues, answers and decides in no time. Whenever the model is free it takes its next batch out of all that
has arrived, chosen by the very function that the real server chooses with. What is left of the real server's latency
over this one's is what the server adds, beside the waiting that no server avoids.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from child import Child
from scipy.optimize import nnls

from plaudit.reward.batcher import WINDOW, Budget, choose

SHAPES = [(items, width) for items in (1, 2, 4, 8, 16, 32) for width in (8, 16, 32, 64, 128, 256)]
LARGEST = 2048
"""Tokens of the largest forward that is measured; beyond it the time is extrapolated."""


@dataclass(frozen=True)
class Forward:
    """Seconds of a padded forward: so much a forward, an item, a token, and a token of the attention's square."""

    parts: tuple[float, ...]
    error: float  # the mean relative error over the shapes measured

    def seconds(self, items: int, width: int) -> float:
        """Of `items` rows padded to `width` tokens."""
        return float(np.dot(self.parts, _terms(items, width)))

    @property
    def padding_worth(self) -> float:
        """Tokens of padding that take as long as a forward of their own (see `backends.model`)."""
        call, item, token, _ = self.parts
        return (call + item) / max(token, 1e-9)


def between(before: Forward, after: Forward) -> Forward:
    """Of a machine whose speed drifts: the mean of two measurements."""
    parts = tuple((a + b) / 2 for a, b in zip(before.parts, after.parts, strict=True))
    return Forward(parts, (before.error + after.error) / 2)


def measure_forward(bare: Child) -> Forward:
    """A fit to the bare loop's forwards, now; every shape counts the same, small or large."""
    shapes = [(items, width) for items, width in SHAPES if items * width <= LARGEST]
    seconds = np.array(bare.ask(do="costs", shapes=shapes)["seconds"])
    terms = np.array([_terms(items, width) for items, width in shapes])
    parts, _ = nnls(terms / seconds[:, None], np.ones(len(seconds)))
    return Forward(tuple(map(float, parts)), float(np.abs(terms @ parts / seconds - 1).mean()))


def _terms(items: int, width: int) -> tuple[float, ...]:
    return 1.0, items, items * width, items * width**2


def latencies(due: Sequence[float], lengths: Sequence[int], forward: Forward, max_tokens: float) -> list[float]:
    """Seconds from each arrival to its answer. `lengths` and `max_tokens`, of one batch, in tokens."""
    budget = Budget(max_tokens, forward.padding_worth)
    done = [0.0] * len(due)
    waiting: list[int] = []
    now, arrived = 0.0, 0
    while waiting or arrived < len(due):
        if not waiting:
            now = max(now, due[arrived])
        while arrived < len(due) and due[arrived] <= now:
            waiting.append(arrived)
            arrived += 1
        chosen = choose([(number, lengths[number]) for number in waiting[:WINDOW]], budget)
        batch = [waiting[place] for place in chosen]
        now += forward.seconds(len(batch), max(lengths[number] for number in batch))
        for number in batch:
            done[number] = now
        waiting = [number for number in waiting if done[number] == 0.0]
    return [end - begin for end, begin in zip(done, due, strict=True)]
