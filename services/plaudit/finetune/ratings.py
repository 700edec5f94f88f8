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
from plaudit.preferences.ratings import Fit, Rating, fit
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
        """From raw scores of a model that was trained on these back to ratings."""
        mean = float(np.average(self.scores, weights=self.weights))
        std = float(np.average((self.scores - mean) ** 2, weights=self.weights)) ** 0.5
        return Calibration(mean=-mean / std, std=1.0 / std)

    def measure(self, scores: npt.NDArray[np.float64], training: "RenderedRatings") -> Fit:
        """How well scores (n,) of `rows` fit, as ratings."""
        return fit(scores, self.scores)


def render_ratings(
    tokenizer: PreTrainedTokenizerBase, rendering: Rendering, ratings: Sequence[Rating], name: str
) -> RenderedRatings:
    """Renders each as the server will. ConfigurationError where a row cannot be rendered, or where nothing differs."""
    found = render_sides(RenderedRatings, tokenizer, rendering, ratings, lambda one: (one.side,), f"{name} ratings")
    if len({rating.score for rating in found.judgements}) == 1:
        raise ConfigurationError(
            f"every one of the {len(found.judgements)} {name} ratings is {found.judgements[0].score:g}: there is "
            "nothing to tell apart, give more data"
        )
    return found


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
