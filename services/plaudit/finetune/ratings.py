"""Ratings as the token ids a reward model reads, and what it learns from them by the squared error of its one output.

Scores are learnt in standard deviations from their mean in the training data: a head without a bias need not learn
where the middle is, and the learning rate does not depend on the scale that people were given.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback

from plaudit.errors import ConfigurationError
from plaudit.finetune.classifier import Classifier
from plaudit.finetune.responses import responses_trainer
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import Fitting, render_sides
from plaudit.preferences.ratings import FEWEST, Fit, Rating, fit
from plaudit.preferences.reading import together
from plaudit.reward.calibration import Calibration
from plaudit.reward.rendering import Rendering


class RenderedRatings(Fitting[Rating]):
    """Ratings as one row of ids each."""

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """(n,) as people gave them."""
        return np.array([rating.score for rating in self.judgements])

    @property
    def unit(self) -> Calibration:
        """From raw scores of a model that was trained on these back to ratings. ConfigurationError if all are alike."""
        if np.ptp(self.scores) == 0:
            problem = f"every one of the {len(self)} training ratings is {self.scores[0]:g}"
            raise ConfigurationError(f"{problem}: there is nothing to tell apart, give more data")
        mean = float(np.average(self.scores, weights=self.weights))
        std = float(np.average((self.scores - mean) ** 2, weights=self.weights)) ** 0.5
        return Calibration(mean=-mean / std, std=1.0 / std)

    def measure(self, scores: npt.NDArray[np.float64], training: "RenderedRatings") -> Fit | None:
        """How well scores (n,) of `rows` fit, as ratings. None where those are too few, or all alike."""
        if len(self) < FEWEST or np.ptp(self.scores) == 0:
            return None
        return fit(scores, self.scores, together(rating.side for rating in self.judgements))


def render_ratings(
    tokenizer: PreTrainedTokenizerBase, rendering: Rendering, ratings: Sequence[Rating], name: str
) -> RenderedRatings:
    """Renders each as the server will."""
    return render_sides(RenderedRatings, tokenizer, rendering, ratings, lambda one: (one.side,), f"{name} ratings")


def ratings_trainer(
    settings: RewardModelSettings,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: RenderedRatings,
    held_out: RenderedRatings | None,
    callback: TrainerCallback,
) -> Trainer:
    """With the squared error."""
    unit = training.unit

    def labels(part: RenderedRatings) -> list[float]:
        return [score * unit.std + unit.mean for score in part.scores]

    return responses_trainer(settings, model, tokenizer, training, held_out, labels, squared_error, callback)


def squared_error(rewards: Tensor, labels: Tensor) -> Tensor:
    """(B,)"""
    return (rewards - labels).square()
