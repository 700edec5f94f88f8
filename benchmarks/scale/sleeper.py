"""An engine that sleeps as long as generating would take, and imports neither torch nor a model.

Response lengths are drawn from a lognormal distribution (median 96 tokens, sigma 0.7, cut at 512), by the request's id
alone: the same request takes as long wherever it goes. A token takes 20 ms: 2.4 s a response in the mean.
"""

import time
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from plaudit.policy.settings import PolicySettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory, Weights

MEDIAN_TOKENS, SIGMA, MOST_TOKENS, SECONDS_PER_TOKEN = 96, 0.7, 512, 0.02
KIND = "sleeper:Sleeper"


def tokens(request: RolloutRequest) -> int:
    """How long the response to it is."""
    drawn = np.random.default_rng(zlib.crc32(request.id.encode())).lognormal(np.log(MEDIAN_TOKENS), SIGMA)
    return int(min(MOST_TOKENS, max(1, round(drawn))))


def seconds(request: RolloutRequest) -> float:
    """How long it takes to generate."""
    return tokens(request) * SECONDS_PER_TOKEN


class Sleeper:
    """Rows of a batch sleep beside each other, as they would be generated; each is there as soon as it ends."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        """Needs neither."""

    def load_weights(self, weights: Weights) -> None:
        """Takes no time."""

    def generate(
        self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int
    ) -> Iterator[Trajectory]:
        """Real trajectories in size: ids, log-probabilities, text."""
        began = time.monotonic()
        for request in sorted(requests, key=tokens):
            count = tokens(request)
            time.sleep(max(0.0, began + count * SECONDS_PER_TOKEN - time.monotonic()))
            logprobs = np.full(count, -1.0, np.float32)
            yield Trajectory(request, tuple(range(count)), "word " * count, logprobs, "stop", weight_version)
