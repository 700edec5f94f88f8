"""How long answers take at 70 % load, against a server that wastes nothing (ideal.py) under the same arrivals.

Arrivals are Poisson, latency counts from when a request was due to when its answer was there. The capacity is the
closed loop's of 64 clients, measured first. What a forward takes is measured in every round, before and after the load,
without the server.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from child import Child
from ideal import Forward, between, latencies, measure_forward
from load import Load, run
from measure import Figure, report
from setting import WINDOW, Setting, model_arguments, setting

from plaudit.reward.settings import LimitSettings

LOAD = 0.7


@dataclass(frozen=True)
class Round:
    """Seconds, of every request."""

    ours: list[float]
    ideal: list[float]
    forward: Forward
    generator: float  # of a core

    def percentiles(self, percent: float) -> tuple[float, float]:
        """Milliseconds, ours and the ideal server's."""
        ours, ideal = (float(np.percentile(seconds, percent)) for seconds in (self.ours, self.ideal))
        return 1e3 * ours, 1e3 * ideal


def measure(at: Setting, server: Child, bare: Child, seed: int, rate: float, seconds: float) -> Round:
    """One load, and the same for the ideal server."""
    before = measure_forward(bare)
    load = Load(address=server.address, seed=seed, median=at.median, rate=rate, seconds=seconds)
    outcome = run(load)
    assert outcome.ok == len(outcome.codes), outcome.counts()
    forward = between(before, measure_forward(bare))
    lengths = bare.ask(do="lengths", seed=seed, count=len(outcome.due), median=at.median)["lengths"]
    ideal = latencies(outcome.due, lengths, forward, LimitSettings().max_batch_tokens)
    return Round(outcome.latencies(), ideal, forward, outcome.cpu / outcome.seconds)


def figures(rounds: list[Round]) -> Iterator[Figure]:
    """Of all rounds."""
    for percent, target in ((99, 1.3), (50, None)):
        both = [one.percentiles(percent) for one in rounds]
        yield Figure(f"p{percent} / ideal server's", [ours / ideal for ours, ideal in both], target, "lower")
        yield Figure(f"p{percent}", [ours for ours, _ in both], unit="ms")
        yield Figure(f"p{percent} of the ideal server", [ideal for _, ideal in both], unit="ms")
    yield Figure("what a forward takes: mean error of the fit", [one.forward.error for one in rounds])
    yield Figure("load generator", [one.generator for one in rounds], unit="of a core")


def main() -> None:
    """Prints a table."""
    parsed = model_arguments(__doc__, rounds=5, seconds=30).parse_args()
    with setting(parsed) as at, at.plaudit() as server, at.by_hand("bare") as bare:
        rate = LOAD * at.closed(server, 1000, 8 * WINDOW).rate
        rounds = [measure(at, server, bare, seed, rate, parsed.seconds) for seed in range(1, parsed.rounds + 1)]
    title = (
        f"Latency at {rate:.0f} items/s, {LOAD:.0%} of capacity, {parsed.seconds:g} s a round, {at.threads} thread(s)"
    )
    report(title, list(figures(rounds)), parsed.json)


if __name__ == "__main__":
    main()
