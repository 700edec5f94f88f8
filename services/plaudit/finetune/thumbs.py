"""Thumbs as the token ids a reward model reads, and what it learns from them by the cross-entropy of its one output.

The output is the log-odds of a thumb up less those of the training data: a head without a bias need not learn how many
thumbs are up.
"""

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from plaudit.errors import ConfigurationError
from plaudit.finetune.fitting import Loss, Told
from plaudit.finetune.responses import RenderedResponses
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.preferences.reading import together
from plaudit.preferences.thumbs import Discrimination, Thumb, discrimination, read_thumbs
from plaudit.reward.calibration import Calibration
from plaudit.rows import DataSettings


class RenderedThumbs(RenderedResponses[Thumb]):
    """1 is up, 0 is down."""

    NAMED = "thumbs"

    @staticmethod
    def read(data: DataSettings, *, ties: bool) -> Sequence[Thumb]:
        return read_thumbs(data)

    @property
    def labels(self) -> Sequence[float]:
        return [float(thumb.up) for thumb in self.judgements]

    @property
    def base_rate(self) -> float:
        """The share of thumbs up, by weight."""
        return float(np.average(self.labels, weights=self.weights))

    @property
    def unit(self) -> Calibration:
        """From raw scores of a model that was trained on these to log-odds. ConfigurationError where all are alike."""
        if self.base_rate in (0.0, 1.0):
            said = "up" if self.base_rate else "down"
            problem = f"every one of the {len(self)} training thumbs is {said}"
            raise ConfigurationError(f"{problem}: there is nothing to tell apart, give more data")
        return Calibration(mean=-math.log(self.base_rate / (1.0 - self.base_rate)), std=1.0)

    def loss(self, settings: RewardModelSettings) -> Loss:
        base = -self.unit.mean

        def loss(rewards: Tensor, told: Told) -> Tensor:
            return binary_cross_entropy_with_logits(rewards + base, told["labels"], told["weights"], reduction="sum")

        return loss

    def measure(self, scores: npt.NDArray[np.float64], training: Self) -> Discrimination:
        """How well scores (n,) of `rows`, as log-odds, tell up from down, beside the training data's base rate."""
        groups = together(thumb.side for thumb in self.judgements)
        return discrimination(scores, np.array(self.labels) == 1.0, training.base_rate, groups)
