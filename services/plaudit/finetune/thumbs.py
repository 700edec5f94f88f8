"""Thumbs as the token ids a reward model reads, and what it learns from them by the cross-entropy of its one output.

The output is the log-odds of a thumb up less those of the training data: a head without a bias need not learn how many
thumbs are up.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback

from plaudit.errors import ConfigurationError
from plaudit.finetune.classifier import Classifier
from plaudit.finetune.responses import responses_trainer
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import Fitting, render_sides
from plaudit.preferences.reading import together
from plaudit.preferences.thumbs import Discrimination, Thumb, discrimination
from plaudit.reward.calibration import Calibration
from plaudit.reward.rendering import Rendering


class RenderedThumbs(Fitting[Thumb]):
    """Thumbs as one row of ids each."""

    @property
    def up(self) -> npt.NDArray[np.bool_]:
        """(n,)"""
        return np.array([thumb.up for thumb in self.judgements])

    @property
    def base_rate(self) -> float:
        """The share of thumbs up, by weight."""
        return float(np.average(self.up, weights=self.weights))

    @property
    def unit(self) -> Calibration:
        """From raw scores of a model that was trained on these to log-odds. ConfigurationError where all are alike."""
        if self.base_rate in (0.0, 1.0):
            said = "up" if self.base_rate else "down"
            problem = f"every one of the {len(self)} training thumbs is {said}"
            raise ConfigurationError(f"{problem}: there is nothing to tell apart, give more data")
        return Calibration(mean=-math.log(self.base_rate / (1.0 - self.base_rate)), std=1.0)

    def measure(self, scores: npt.NDArray[np.float64], training: "RenderedThumbs") -> Discrimination:
        """How well scores (n,) of `rows`, as log-odds, tell up from down, beside the training data's base rate."""
        groups = together(thumb.side for thumb in self.judgements)
        return discrimination(scores, self.up, training.base_rate, groups)


def render_thumbs(
    tokenizer: PreTrainedTokenizerBase, rendering: Rendering, thumbs: Sequence[Thumb], name: str
) -> RenderedThumbs:
    """Renders each as the server will."""
    return render_sides(RenderedThumbs, tokenizer, rendering, thumbs, lambda one: (one.side,), f"{name} thumbs")


def thumbs_trainer(
    settings: RewardModelSettings,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: RenderedThumbs,
    held_out: RenderedThumbs | None,
    callback: TrainerCallback,
) -> Trainer:
    """With the cross-entropy."""
    base = -training.unit.mean

    def loss(rewards: Tensor, labels: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(rewards + base, labels, reduction="none")

    def labels(part: RenderedThumbs) -> list[float]:
        return [float(up) for up in part.up]

    return responses_trainer(settings, model, tokenizer, training, held_out, labels, loss, callback)
