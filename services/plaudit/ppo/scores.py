"""From the scores that a reward service gave to those that the policy learns from."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from plaudit.ppo.settings import ScoreSettings
from plaudit.trajectory import TrainingBatch

Scores = npt.NDArray[np.float32]
EPSILON = float(np.finfo(np.float32).eps)
ROUNDING = 1e-7
"""Relative: closer together, float32 scores are equal."""


@dataclass
class RunningMoments:
    """Count, mean and squared deviations of everything seen so far, batch by batch (Chan et al. 1979), in float64."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0  # summed squared deviations from the mean

    def update(self, numbers: npt.NDArray[np.floating]) -> None:
        """Takes one batch."""
        seen, new = self.count, float(numbers.size)
        mean = float(np.mean(numbers, dtype=np.float64))
        difference = mean - self.mean
        self.squares += float(np.square(numbers.astype(np.float64) - mean).sum())
        self.count += new
        self.mean += difference * new / self.count
        self.squares += difference**2 * seen * new / self.count

    @property
    def std(self) -> float:
        """With Bessel's correction; 1 until there are two numbers, or where all of them are equal up to rounding."""
        std = math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0
        return std if std > ROUNDING * max(1.0, abs(self.mean)) else 1.0


class ScoreShaper:
    """Applies `ScoreSettings`; remembers the running moments."""

    def __init__(self, settings: ScoreSettings) -> None:
        self._settings = settings
        self._moments = RunningMoments()

    def shape(self, batch: TrainingBatch) -> Scores:
        """(B,): the batch's scores as the policy learns from them. The moments take this batch in first."""
        scores = batch.scores - np.where(batch.truncated, self._settings.missing_eos_penalty, 0.0)
        if self._settings.normalisation != "none":
            self._moments.update(scores)
            centre = self._moments.mean if self._settings.normalisation == "standardise" else 0.0
            scores = (scores - centre) / (self._moments.std + EPSILON)
        if self._settings.clip is not None:
            scores = np.clip(scores, -self._settings.clip, self._settings.clip)
        return scores.astype(np.float32)

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return asdict(self._moments)

    def load_state(self, state: dict[str, float]) -> None:
        """Goes on from there."""
        self._moments = RunningMoments(**state)
