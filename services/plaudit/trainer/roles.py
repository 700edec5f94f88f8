"""The roles that the loop and those around it are handed; one more is `ppo.learner.Learner`.

Whoever is handed a role owns no model, no actor and no connection of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from plaudit.rollout.dispatch import Event
from plaudit.trajectory import RolloutRequest, Sampling, ScoredTrajectory, Trajectory, Weights

Phase = Callable[[str], AbstractContextManager[None]]
"""What is done in the block is a phase of the step: it is shown, and timed."""


class RolloutPool(Protocol):
    """Generates with the current policy, somewhere else."""

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling) -> list[Trajectory]:
        """One trajectory per request, in order, but for prompts that are set aside; blocks until all are there.

        The result does not depend on how many workers there are, nor on their deaths.
        Raises RunFailed when every worker is lost.
        """
        ...

    def submit(self, requests: Sequence[RolloutRequest], sampling: Sampling, on_event: Callable[[Event], None]) -> None:
        """Returns at once; `on_event` is told of each trajectory, by another thread, which it must not hold up.

        Raises RunFailed when every worker is lost.
        """
        ...

    def set_weights(self, version: int, weights: Weights) -> None:
        """What is asked for from now on is generated with these weights (`policy.weights.pack`), or newer ones."""
        ...

    def close(self) -> None:
        """Ends the workers."""
        ...


class Scorer(Protocol):
    """Asks a reward service about finished trajectories."""

    def score(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """In order; None where the service had no score for an item, after retries. Never a made-up number.

        Raises RunFailed when too many have none.
        """
        ...

    def ask(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """The same for a part of a batch, from any thread: how many may have none is for the caller to say."""
        ...

    def check_missing(self, missing: int, asked: int) -> None:
        """Raises RunFailed when so many of those that were asked for have no score."""
        ...


class Position(NamedTuple):
    """Where a run is in its prompts."""

    in_flight: list[str]  # ids of requests that were drawn and not trained on
    drawn: int  # prompts drawn from the stream


@dataclass(frozen=True)
class Collected:
    """What a step learns from."""

    scored: list[ScoredTrajectory]
    counts: Mapping[str, float] = field(default_factory=dict)  # by the names of `metrics.jsonl`


class Rollouts(Protocol):
    """Where a step's scored trajectories come from: prompts, pool and scorer, joined in one of two ways."""

    def begin(self, version: int, position: Position) -> None:
        """The pool has the weights of `version`; a resumed run asks for what was in flight again."""
        ...

    def collect(self, step: int, phase: Phase) -> Collected:
        """What step `step` learns from; blocks until it is there. Raises RunFailed."""
        ...

    def publish(self, version: int, weights: Weights) -> None:
        """The learner has new weights, of this version."""
        ...

    def position(self, step: int) -> Position:
        """What a checkpoint before step `step` remembers."""
        ...

    def close(self) -> None:
        """Asks for nothing more."""
        ...
