"""What overlapping saves: `python benchmarks/scale/overlap.py [--steps 24]`

Three stages that sleep: workers generate, a reward service scores, a response at a time, a learner trains. In turn a
step takes the sum of them; overlapped it should take little more than the longest. Each of the three is the longest
once, and everything else is the real thing: Ray, the pool, `OverlappedRollouts`. In the last case so is the reward
service: a gRPC server behind which somebody judges at a person's pace, now quicker, now slower.

What the learner waits follows from the bound. With `max_staleness` k and stages of g, s and t seconds, between asking
for a batch and training on it lie k updates. A batch is there after l = max(g / w + s, g + s / w) seconds, for workers
answer in w waves and each response is scored as it comes. So a step takes max(g, s, t, (l + t) / (k + 1)).
"""

import argparse
import json
import threading
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
from plaudit.trainer.scoring import RemoteScorer
from plaudit.trainer.settings import RewardSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, ScoredTrajectory, Trajectory, Weights
from plaudit_client import ScoreItem
from plaudit_client.fake import FakeRewardServer

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

    def close(self) -> None:
        """Nothing is held."""

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


class Person:
    """Judges behind a real server; takes `seconds` in the mean, lognormally distributed."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._spread = seconds, 0.5
        self._chance, self._at_it = np.random.default_rng(0), threading.Lock()

    def __call__(self, item: ScoreItem) -> float:
        """One after another, whoever asks."""
        with self._at_it:
            time.sleep(self._seconds * self._chance.lognormal(-(self._spread**2) / 2, self._spread))
        return 0.0


@dataclass(frozen=True)
class Case:
    """Seconds a step that each stage takes by itself, and the bound."""

    generate: float
    score: float
    train: float
    max_staleness: int
    person: bool = False

    @property
    def predicted(self) -> float:
        """Seconds a step, as this file's docstring says."""
        waves = BATCH / WORKERS
        there = max(self.generate / waves + self.score, self.generate + self.score / waves)
        return max(self.generate, self.score, self.train, (there + self.train) / (self.max_staleness + 1))


@dataclass(frozen=True)
class Measured:
    """Seconds a step."""

    case: Case
    wall: float
    waited: float  # of it, by the learner

    @property
    def ratio(self) -> float:
        """To the longest stage."""
        return self.wall / max(self.case.generate, self.case.score, self.case.train)


CASES = (
    Case(4, 2, 2, max_staleness=1),
    Case(2, 4, 2, max_staleness=1),
    Case(2, 2, 4, max_staleness=1),
    Case(3, 3, 3, max_staleness=1),
    Case(3, 3, 3, max_staleness=2),
    Case(2, 8, 3, max_staleness=1, person=True),
)


@contextmanager
def no_phase(name: str) -> Iterator[None]:
    """Nobody looks."""
    yield


@contextmanager
def scorer(case: Case) -> Iterator[SleepingScorer | RemoteScorer]:
    """Asleep, or somebody at the other end of a connection."""
    if not case.person:
        yield SleepingScorer(case.score / BATCH)
        return
    with FakeRewardServer(Person(case.score / BATCH)) as server:
        remote = RemoteScorer({"person": RewardSettings(address=server.address, timeout_s=600)}, max_missing_ratio=0)
        remote.wait_until_ready()
        yield remote
        remote.close()


def measure(case: Case, steps: int) -> Measured:
    """In the mean of the steps behind the first ones."""
    with scorer(case) as scores:
        return run(case, scores, steps)


def run(case: Case, scores: SleepingScorer | RemoteScorer, steps: int) -> Measured:
    """The loop's part of `OverlappedRollouts`."""
    each = round(100 * case.generate * WORKERS / BATCH)
    settings = RolloutSettings(workers=WORKERS, group_size=1, cpus_per_worker=0.01)
    pool = RayRolloutPool(settings, PolicySettings(model="none"), engine=KIND)
    prompts = PromptStream([Prompt(str(n), (each,), text="") for n in range(1000)], BATCH, 1, seed=0)
    rollouts = OverlappedRollouts(
        prompts, pool, scores, Sampling(2, 1.0, (), 0), max_staleness=case.max_staleness, steps=WARM_UP + steps
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
            time.sleep(case.train)
            rollouts.publish(step + 1, ())
        wall = time.monotonic() - began
    finally:
        rollouts.close()
        pool.close()
    return Measured(case, wall / steps, waited / steps)


def main() -> None:
    """Prints a table, writes overlap.json."""
    parser = argparse.ArgumentParser(description="What overlapping saves.")
    parser.add_argument("--steps", type=int, default=24, help="steady steps measured, of each case")
    parser.add_argument("--json", type=Path, default=HERE / "overlap.json")
    asked = parser.parse_args()
    connection = start_ray(None, num_cpus=1024)
    rows = [measure(case, asked.steps) for case in CASES]
    connection.close()
    table = Table(title="Seconds a step, stages that sleep")
    for heading in ("generate", "score", "train", "bound", "in turn", "overlapped", "to the longest"):
        table.add_column(heading, justify="right")
    for heading in ("learner waits", "predicted"):
        table.add_column(heading, justify="right")
    for row in rows:
        case = row.case
        stages = (case.generate, case.score, case.train)
        table.add_row(
            *(f"{case.generate:g}", f"{case.score:g}{', a person' * case.person}", f"{case.train:g}"),
            *(str(case.max_staleness), f"{sum(stages):g}", f"{row.wall:.2f}", f"{row.ratio:.3f}"),
            *(f"{row.waited:.2f}", f"{case.predicted - case.train:.2f}"),
        )
    Console().print(table)
    asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
