"""Two of the three roles that the loop is handed; the third is `ppo.learner.Learner`.

The loop owns no model, no actor and no connection of its own.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from plaudit.trajectory import RolloutRequest, Sampling, ScoredTrajectory, Trajectory


class RolloutPool(Protocol):
    """Generates with the current policy, somewhere else."""

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling) -> list[Trajectory]:
        """One trajectory per request, in the requests' order; blocks until all are there.

        The result does not depend on how many workers there are, nor on their deaths.
        Raises RunFailed when every worker is lost.
        """
        ...

    def set_weights(self, version: int, weights: npt.NDArray[np.uint8]) -> None:
        """Gives every worker these weights (`policy.flat_weights.pack`); later trajectories carry `version`."""
        ...

    def close(self) -> None:
        """Ends the workers."""
        ...


class Scorer(Protocol):
    """Asks a reward service about finished trajectories."""

    def score(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """In order; None where the service had no score for an item, after retries. Never a made-up number."""
        ...
