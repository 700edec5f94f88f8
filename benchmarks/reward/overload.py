"""More than the server can do: Poisson arrivals at once, twice and five times its capacity, 5 s to answer each.

Goodput is what was answered in time, over the time from the first arrival to the last answer, so what still waits when
the arrivals end counts with the time it takes. The peak is the round's best of: the closed loop of 64 clients, and the
arrivals at once and twice the capacity. The capacity itself is the closed loop's before the first round.

A refusal's time inside the server is read off `plaudit_reward_request_duration_seconds`, which does not tell refusals
from scored calls: refusals are the fastest calls there are, so their median is what half as many calls as there were
refusals do not exceed. It begins when the server reads the request; the client's median is shown beside it.

Memory is sampled while five times the capacity arrives; flat is: the mean of the last third is at most 5 % above that
of the first.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median

from child import Child
from load import Load, Outcome, run
from measure import Figure, report, turns
from scrape import Histogram, histogram
from setting import WINDOW, Setting, model_arguments, setting

TIMES = (1, 2, 5)
LOADS = ("closed", *(f"{times} x" for times in TIMES))
DEADLINE = 5.0
DURATION = "plaudit_reward_request_duration_seconds"


@dataclass(frozen=True)
class Phase:
    """One load in one round."""

    outcome: Outcome
    durations: Histogram  # inside the server
    memory: list[int]

    @property
    def refusals(self) -> list[float]:
        """Seconds, at the client."""
        return self.outcome.latencies("UNAVAILABLE")

    @property
    def refused_within(self) -> float:
        """The median refusal inside the server, in milliseconds."""
        return 1e3 * self.durations.at_rank(len(self.refusals) / 2)

    @property
    def growth(self) -> float:
        """Memory in the last third over memory in the first."""
        third = max(1, len(self.memory) // 3)
        return fmean(self.memory[-third:]) / fmean(self.memory[:third])


@contextmanager
def watching_memory(server: Child) -> Iterator[list[int]]:
    """Twice a second, while the block runs."""
    samples, over = [server.memory()], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            samples.append(server.memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def observe(server: Child, load: Load, number: int) -> Phase:
    """What the load did to the server. Every round has texts of its own, and so has every load."""
    before = histogram(server, DURATION)
    with watching_memory(server) as memory:
        outcome = run(replace(load, seed=len(LOADS) * number + load.seed))
    time.sleep(1.0)  # calls whose client gave up come to their end
    return Phase(outcome, histogram(server, DURATION) - before, memory)


def loads(at: Setting, server: Child, capacity: float, seconds: float) -> dict[str, Load]:
    """The closed loop, and arrivals at so many times the capacity."""
    closed = Load(address=server.address, seed=0, median=at.median, clients=WINDOW, count=round(capacity * seconds))
    return {"closed": closed} | {
        f"{times} x": replace(closed, seed=place, rate=times * capacity, seconds=seconds, timeouts=(DEADLINE,))
        for place, times in enumerate(TIMES, 1)
    }


def figures(rounds: list[dict[str, Phase]]) -> Iterator[Figure]:
    """Of all rounds."""
    _, *names, last = LOADS
    peaks = [max(one[name].outcome.goodput for name in LOADS[:-1]) for one in rounds]
    for name in (*names, last):
        share = [one[name].outcome.goodput / peak for one, peak in zip(rounds, peaks, strict=True)]
        yield Figure(f"{name}: goodput / peak", share, 0.9 if name == last else None)
    most = [one[last] for one in rounds]
    yield Figure(f"{last}: refusal inside the server, median", [one.refused_within for one in most], 5, "lower", "ms")
    at_client = [1e3 * median(one.refusals) for one in most if one.refusals]
    yield Figure(f"{last}: refusal at the client, median", at_client or [0.0], unit="ms")
    yield Figure(f"{last}: memory, last third / first third", [one.growth for one in most], 1.05, "lower")
    yield Figure(f"{last}: memory", [fmean(one.memory) / 2**20 for one in most], unit="MiB")
    yield Figure("peak", peaks, unit="items/s")
    for name in LOADS:
        generator = [one[name].outcome.cpu / one[name].outcome.seconds for one in rounds]
        yield Figure(f"{name}: load generator", generator, unit="of a core")


def main() -> None:
    """Prints a table."""
    parsed = model_arguments(__doc__, rounds=3, seconds=20).parse_args()
    with setting(parsed) as at, at.plaudit() as server:
        capacity = at.closed(server, 0, 4 * WINDOW).rate
        named = loads(at, server, capacity, parsed.seconds)
        rounds = list(turns(parsed.rounds, {name: partial(observe, server, load) for name, load in named.items()}))
    title = f"Overload: capacity {capacity:.0f} items/s, {parsed.seconds:g} s a load, {at.threads} thread(s)"
    report(title, list(figures(rounds)), parsed.json)


if __name__ == "__main__":
    main()
