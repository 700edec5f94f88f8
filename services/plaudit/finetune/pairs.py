"""Preferences as the token ids a reward model reads, and what it learns from them by Bradley and Terry's loss:

-log sigmoid(r(chosen) - r(rejected) - margin), by trl's RewardTrainer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from plaudit.finetune.classifier import Classifier
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import Fitting, Ids, render_sides
from plaudit.finetune.training import trainer_arguments
from plaudit.preferences.agreement import Agreement, agreement
from plaudit.preferences.reading import Preference
from plaudit.reward.rendering import Rendering


class RenderedPairs(Fitting[Preference]):
    """Preferences as two rows of ids each."""

    @property
    def chosen_ids(self) -> list[Ids]:
        return [chosen for chosen, _ in self.ids]

    @property
    def rejected_ids(self) -> list[Ids]:
        return [rejected for _, rejected in self.ids]

    @property
    def rows(self) -> list[Ids]:
        """All responses, the chosen ones first."""
        return self.chosen_ids + self.rejected_ids

    def columns(self) -> dict[str, list[Ids] | list[float]]:
        """What trl's RewardTrainer reads; a margin that a row does not give is 0."""
        columns: dict[str, list[Ids] | list[float]] = {
            "chosen_ids": self.chosen_ids,
            "rejected_ids": self.rejected_ids,
        }
        if any(preference.margin is not None for preference in self.judgements):
            columns["margin"] = [preference.margin or 0.0 for preference in self.judgements]
        return columns

    def measure(self, scores: npt.NDArray[np.float64], training: "RenderedPairs") -> Agreement:
        """How often raw scores (2n,) of `rows` agree, the length rule beside it."""
        return agreement(scores[: len(self)], scores[len(self) :], self.judgements)


def render_pairs(
    tokenizer: PreTrainedTokenizerBase, rendering: Rendering, preferences: Sequence[Preference], name: str
) -> RenderedPairs:
    """As `render_sides` does, the chosen side and the rejected one."""
    return render_sides(
        RenderedPairs, tokenizer, rendering, preferences, lambda one: (one.chosen, one.rejected), f"{name} pairs"
    )


def pairs_trainer(
    settings: RewardModelSettings,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: RenderedPairs,
    held_out: RenderedPairs | None,
    callback: TrainerCallback,
) -> Trainer:
    """trl's, told everything."""
    arguments: dict[str, Any] = trainer_arguments(settings.training, settings.base, settings.output, len(training))
    config = RewardConfig(
        **arguments,
        disable_dropout=not settings.dropout,
        center_rewards_coefficient=settings.center_rewards_coefficient,
        max_length=None,  # the rendering has seen to it
        pad_to_multiple_of=None,
        eval_strategy="no" if held_out is None else "epoch",
    )
    trainer: Trainer = RewardTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict(training.columns()),
        eval_dataset=None if held_out is None else Dataset.from_dict(held_out.columns()),
        processing_class=tokenizer,
        callbacks=[callback],
    )
    return trainer
