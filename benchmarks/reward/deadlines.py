"""A storm of deadlines shorter than the queue: is anything computed for a caller whose time is over?

Ten times the capacity arrives, with 50 ms to 2 s to answer each. The server notes each call's deadline and each
forward's beginning by the same clock (contenders/watched.py); an item counts when its forward began after its deadline.
Every round has a new server, which has yet to learn how fast it is. That calls did expire in the queue, and would have
been computed by a server that does not look, is in the table too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import workload
from child import Child
from contenders.served import settings_file
from load import Load, Outcome, run
from measure import Figure, report
from setting import WINDOW, Setting, model_arguments, setting

TIMES = 10
TIMEOUTS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Storm:
    """What became of one."""

    outcome: Outcome
    ran: dict[int, float]  # items, and how long before their deadline their forward began

    @property
    def late(self) -> list[float]:
        """Seconds after the deadline, of the items that were run then."""
        return [-left for left in self.ran.values() if left <= 0]

    @property
    def wasted(self) -> float:
        """The share of what was run that was not answered in time."""
        return sum(self.outcome.codes[number] != "OK" for number in self.ran) / len(self.ran)

    def ended(self, code: str) -> float:
        """The share of the calls."""
        return sum(one == code for one in self.outcome.codes) / len(self.outcome.codes)


def storm(at: Setting, seed: int, rate: float, seconds: float) -> Storm:
    """On a server of its own."""
    load = Load(address="", seed=seed, median=at.median, rate=rate, seconds=seconds, timeouts=TIMEOUTS)
    count = len(workload.arrivals(seed, rate, seconds))
    with settings_file({"name": "model", "model": str(at.folder)}, at.threads) as settings:
        given = (settings, str(at.folder), str(seed), str(count), str(at.median), *at.server_settings)
        with Child("-m", "contenders.watched", "{ready}", *given, threads=at.threads) as server:
            outcome = run(replace(load, address=server.address))
            seen = server.ask()
    ran = {}
    for began, numbers in seen["forwards"]:
        ran.update({number: seen["deadlines"][str(number)] - began for number in numbers})
    return Storm(outcome, ran)


def figures(storms: list[Storm]) -> Iterator[Figure]:
    """Of all rounds."""
    yield Figure("items run after their deadline", [len(one.late) for one in storms], 0, "lower")
    yield Figure("the latest of them", [1e3 * max(one.late, default=0.0) for one in storms], unit="ms")
    yield Figure("items run", [len(one.ran) for one in storms])
    yield Figure("of these, answered too late", [one.wasted for one in storms])
    yield Figure("calls answered", [one.ended("OK") for one in storms])
    yield Figure("calls expired", [one.ended("DEADLINE_EXCEEDED") for one in storms])
    yield Figure("calls refused", [one.ended("UNAVAILABLE") for one in storms])


def main() -> None:
    """Prints a table."""
    parsed = model_arguments(__doc__, rounds=3, seconds=10).parse_args()
    with setting(parsed) as at:
        with at.plaudit() as server:
            capacity = at.closed(server, 1, 4 * WINDOW).rate
        storms = [storm(at, seed, TIMES * capacity, parsed.seconds) for seed in range(1, parsed.rounds + 1)]
    title = f"Deadlines: {TIMES} times {capacity:.0f} items/s for {parsed.seconds:g} s, {at.threads} thread(s)"
    report(title, list(figures(storms)), parsed.json)


if __name__ == "__main__":
    main()
