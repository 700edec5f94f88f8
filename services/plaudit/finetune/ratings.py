"""Ratings as the token ids a reward model reads, and what it learns from them by the squared error of its one output.

Scores are learnt in standard deviations from their mean in the training data: a head without a bias need not learn
where the middle is, and the learning rate does not depend on the scale that people were given.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

from plaudit.errors import ConfigurationError
from plaudit.finetune.classifier import Classifier
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import Fitting, Ids, padded_ids, render_sides
from plaudit.finetune.training import trainer_arguments
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
        mean, std = float(self.scores.mean()), float(self.scores.std())
        return Calibration(mean=-mean / std, std=1.0 / std)

    def columns(self, unit: Calibration) -> dict[str, list[Ids] | list[float]]:
        """What the trainer reads."""
        return {"input_ids": self.rows, "labels": [score * unit.std + unit.mean for score in self.scores]}

    def measure(self, scores: npt.NDArray[np.float64], training: "RenderedRatings") -> Fit:
        """How well raw scores (n,) of `rows` fit, in the unit of what the model was trained on."""
        unit = training.unit
        return fit([unit.apply(score) for score in scores], self.scores)


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
    """transformers' own, with the squared error."""
    arguments: dict[str, Any] = trainer_arguments(settings.training, settings.base, settings.output, len(training))
    unit, pad = training.unit, int(tokenizer.pad_token_id)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        return padded_ids([row["input_ids"] for row in rows], pad) | {
            "labels": torch.tensor([row["labels"] for row in rows])
        }

    return Trainer(
        model=model,
        args=TrainingArguments(**arguments, eval_strategy="no" if held_out is None else "epoch"),
        data_collator=collate,
        train_dataset=Dataset.from_dict(training.columns(unit)),
        eval_dataset=None if held_out is None else Dataset.from_dict(held_out.columns(unit)),
        compute_loss_func=squared_error,
        callbacks=[callback],
    )


def squared_error(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Its mean over all rows of the optimiser step, whatever their split into micro-batches."""
    errors = (outputs.logits[:, 0].float() - labels).square()
    mean: Tensor = errors.sum() / (len(labels) if num_items_in_batch is None else num_items_in_batch)
    return mean
