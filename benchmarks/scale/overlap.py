"""What overlapping saves: `python benchmarks/scale/overlap.py [--steps 24]`

Three stages that sleep: workers generate (a response 2 s), a reward service scores (0.05 s a response, each by itself),
a learner trains. In turn a step takes the sum of them; overlapped it should take little more than the longest. Each of
the three is the longest once, and everything else is the real thing: Ray, the pool, `OverlappedRollouts`.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from plaudit.policy.settings import PolicySettings
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.pool import RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.trainer.overlapped import OverlappedRollouts
from plaudit.trainer.prompts import PromptStream
from plaudit.trainer.roles import Position
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, ScoredTrajectory, Trajectory, Weights

HERE = Path(__file__).parent
WORKERS, BATCH, WARM_UP = 4, 8, 4
KIND = "overlap:Even"


class Even:
    """Each response takes as long as its prompt's first token says, in hundredths of a second."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        """Needs neither."""

    def load_weights(self, weights: Weights) -> None:
        """Takes no time."""

    def generate(
        self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int
    ) -> Iterator[Trajectory]:
        """One after another."""
        for request in requests:
            time.sleep(request.prompt.token_ids[0] / 100)
            yield Trajectory(request, (1, 2), "ab", np.zeros(2, np.float32), "stop", weight_version)


class SleepingScorer:
    """A service with one judge: a response at a time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._free = seconds, 0.0

    def ask(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """Behind those that were asked about before."""
        self._free = max(self._free, time.monotonic()) + self.seconds * len(trajectories)
        time.sleep(self._free - time.monotonic())
        return [ScoredTrajectory(one, 0.0) for one in trajectories]

    def score(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """Without the others."""
        return self.ask(trajectories)

    def check_missing(self, missing: int, asked: int) -> None:
        """None ever is."""


@dataclass(frozen=True)
class Measured:
    """Seconds a step."""

    generate: float
    score: float
    train: float
    wall: float
    waited: float  # of it, by the learner

    @property
    def ratio(self) -> float:
        """To the longest stage."""
        return self.wall / max(self.generate, self.score, self.train)


@contextmanager
def no_phase(name: str) -> Iterator[None]:
    """Nobody looks."""
    yield


def measure(generate_s: float, score_s: float, train_s: float, steps: int) -> Measured:
    """Seconds a step that each stage takes by itself."""
    each = round(100 * generate_s * WORKERS / BATCH)
    settings = RolloutSettings(workers=WORKERS, group_size=1, cpus_per_worker=0.01)
    pool = RayRolloutPool(settings, PolicySettings(model="none"), engine=KIND)
    prompts = PromptStream([Prompt(str(n), (each,), text="") for n in range(1000)], BATCH, 1, seed=0)
    rollouts = OverlappedRollouts(
        prompts, pool, SleepingScorer(score_s / BATCH), Sampling(2, 1.0, (), 0), max_staleness=2, steps=WARM_UP + steps
    )
    while pool.counts.alive < WORKERS:
        time.sleep(0.1)
    pool.set_weights(0, ())
    rollouts.begin(0, Position([], 0))
    waited, began = 0.0, time.monotonic()
    try:
        for step in range(WARM_UP + steps):
            if step == WARM_UP:
                waited, began = 0.0, time.monotonic()
            asked = time.monotonic()
            rollouts.collect(step, no_phase)
            waited += time.monotonic() - asked
            time.sleep(train_s)
            rollouts.publish(step + 1, ())
        wall = time.monotonic() - began
    finally:
        rollouts.close()
        pool.close()
    return Measured(generate_s, score_s, train_s, wall / steps, waited / steps)


def main() -> None:
    """Prints a table, writes overlap.json."""
    parser = argparse.ArgumentParser(description="What overlapping saves.")
    parser.add_argument("--steps", type=int, default=24, help="steady steps measured, of each case")
    parser.add_argument("--json", type=Path, default=HERE / "overlap.json")
    asked = parser.parse_args()
    connection = start_ray(None, num_cpus=1024)
    rows = [measure(*stages, asked.steps) for stages in ((4, 2, 2), (2, 4, 2), (2, 2, 4), (3, 3, 3))]
    connection.close()
    table = Table(title="Seconds a step, stages that sleep")
    for heading in ("generate", "score", "train", "in turn", "overlapped", "to the longest", "learner waits"):
        table.add_column(heading, justify="right")
    for row in rows:
        stages = (row.generate, row.score, row.train)
        table.add_row(
            *(f"{stage:g}" for stage in stages),
            *(f"{sum(stages):g}", f"{row.wall:.2f}", f"{row.ratio:.3f}", f"{row.waited:.2f}"),
        )
    Console().print(table)
    asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
