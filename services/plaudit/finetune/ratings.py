"""Ratings as the token ids a reward model reads, and what it learns from them by the squared error of its one output.

Scores are learnt in standard deviations from their mean in the training data: a head without a bias need not learn
where the middle is, and the learning rate does not depend on the scale that people were given.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from plaudit.errors import ConfigurationError
from plaudit.finetune.fitting import Loss, Told
from plaudit.finetune.responses import RenderedResponses
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.preferences.ratings import FEWEST, Fit, Rating, fit, read_ratings
from plaudit.preferences.reading import together
from plaudit.reward.calibration import Calibration
from plaudit.rows import DataSettings


class RenderedRatings(RenderedResponses[Rating]):
    """As people gave them."""

    NAMED = "ratings"

    @staticmethod
    def read(data: DataSettings, *, ties: bool) -> Sequence[Rating]:
        return read_ratings(data)

    @property
    def labels(self) -> Sequence[float]:
        return [rating.score for rating in self.judgements]

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """(n,)"""
        return np.array(self.labels, np.float64)

    @property
    def unit(self) -> Calibration:
        """From raw scores of a model that was trained on these back to ratings. ConfigurationError if all are alike."""
        if np.ptp(self.scores) == 0:
            problem = f"every one of the {len(self)} training ratings is {self.scores[0]:g}"
            raise ConfigurationError(f"{problem}: there is nothing to tell apart, give more data")
        mean = float(np.average(self.scores, weights=self.weights))
        std = float(np.average((self.scores - mean) ** 2, weights=self.weights)) ** 0.5
        return Calibration(mean=-mean / std, std=1.0 / std)

    def loss(self, settings: RewardModelSettings) -> Loss:
        unit = self.unit

        def loss(rewards: Tensor, told: Told) -> Tensor:
            return (told["weights"] * squared_error(rewards, told["labels"] * unit.std + unit.mean)).sum()

        return loss

    def measure(self, scores: npt.NDArray[np.float64], training: Self) -> Fit | None:
        """How well scores (n,) of `rows` fit, as ratings. None where those are too few, or all alike."""
        if len(self) < FEWEST or np.ptp(self.scores) == 0:
            return None
        return fit(scores, self.scores, together(rating.side for rating in self.judgements))


def squared_error(rewards: Tensor, labels: Tensor) -> Tensor:
    """(R,)"""
    return (rewards - labels).square()
