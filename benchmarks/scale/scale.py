"""How the pool scales: `make bench-scale`, or `python benchmarks/scale/scale.py [--workers 1 4 16 64] [--seconds 40]`

Workers sleep as long as generating would take (`sleeper.py`), so that hundreds fit on a small machine and what is
measured is the pool: its driver, Ray, and what travels between them. Each worker generates one response at a time, and
there is always more to do. After a warm-up the responses of a window are counted, by the seconds that they slept:

    throughput   seconds slept by all workers, per second of the window; linear is as many as there are workers
    driver       processor seconds of this process per trajectory, in the window

One driver is at its limit when all of one core goes into trajectories: at 1 / (driver's seconds per trajectory) of them
a second, so at that times the mean seconds of a response, in workers.
"""

import argparse
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table
from sleeper import KIND, seconds

from plaudit.policy.settings import PolicySettings
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.dispatch import Delivered, Event
from plaudit.rollout.pool import RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling

PROMPT = tuple(range(64))
WARM_UP_S = 8.0
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Measured:
    """One number of workers."""

    workers: int
    responses: int  # in the window
    efficiency: float  # of linear
    driver_ms: float  # processor time per trajectory
    mean_s: float  # of a response

    @property
    def saturates_at(self) -> float:
        """Workers that keep one core of the driver busy."""
        return self.mean_s / (self.driver_ms / 1000)


class Counter:
    """What has arrived, and when."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slept: list[tuple[float, float]] = []  # (when, how long)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Delivered):
            now = time.monotonic()
            with self._lock:
                self._slept += [(now, seconds(one.request)) for one in event.trajectories]

    def between(self, start: float, end: float) -> list[float]:
        """Seconds slept for each response of the window; of one that began before it, the part inside."""
        with self._lock:
            return [min(slept, when - start) for when, slept in self._slept if start < when <= end]

    def after(self, end: float) -> float:
        """Seconds slept, before the end of the window, for those that ended later."""
        with self._lock:
            return sum(max(0.0, end - (when - slept)) for when, slept in self._slept if when > end)


def measure(workers: int, window_s: float) -> Measured:
    """With a pool of its own."""
    settings = RolloutSettings(workers=workers, group_size=1, cpus_per_worker=0.01, straggler_factor=None)
    pool = RayRolloutPool(settings, PolicySettings(model="none"), engine=KIND)
    try:
        while pool.counts.alive < workers:
            time.sleep(0.2)
        counter = Counter()
        enough = int(workers * (window_s + WARM_UP_S + 20))
        requests = [RolloutRequest(Prompt(f"{workers}-{n}", PROMPT, text="word " * 64)) for n in range(enough)]
        pool.submit(requests, Sampling(512, 1.0, (0,), 0), counter)
        time.sleep(WARM_UP_S)
        start, cpu = time.monotonic(), time.process_time()
        time.sleep(window_s)
        end, spent = time.monotonic(), time.process_time() - cpu
        time.sleep(12)  # what was under way at the end of the window: its part inside counts
        late = counter.after(end)
    finally:
        pool.close()
    slept = counter.between(start, end)
    mean = fmean(seconds(request) for request in requests)
    efficiency = (sum(slept) + late) / (workers * (end - start))
    return Measured(workers, len(slept), efficiency, 1000 * spent / max(1, len(slept)), mean)


def show(rows: Sequence[Measured]) -> None:
    """A table for people."""
    table = Table(title="Rollout pool, workers that sleep")
    for heading in ("workers", "responses", "of linear", "driver, ms a trajectory", "one driver is enough for"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            *(str(row.workers), str(row.responses), f"{row.efficiency:.3f}", f"{row.driver_ms:.2f}"),
            f"{row.saturates_at:.0f} workers",
        )
    Console().print(table)


def main() -> None:
    """Prints a table, writes scale.json."""
    parser = argparse.ArgumentParser(description="How the rollout pool scales.")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=40.0, help="of each window")
    parser.add_argument("--json", type=Path, default=HERE / "scale.json")
    asked = parser.parse_args()
    connection = start_ray(None, num_cpus=1024)
    rows = [measure(workers, asked.seconds) for workers in asked.workers]
    connection.close()
    show(rows)
    asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
