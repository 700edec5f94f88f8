"""Preferences as the token ids a reward model reads, and what it learns from them by Bradley and Terry's loss.

trl's RewardTrainer, which knows margins, with weights and ties beside (`bradley_terry.py`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import DataCollatorForPreference, RewardTrainer

from plaudit.finetune.bradley_terry import pair_losses
from plaudit.finetune.classifier import Classifier
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.sampling import PaddingLittle
from plaudit.finetune.token_rows import Fitting, Ids, render_sides
from plaudit.finetune.training import trainer_arguments
from plaudit.preferences.agreement import Agreement, agreement
from plaudit.preferences.reading import Preference
from plaudit.reward.rendering import Rendering

TOLD = {"margin": torch.float32, "weight": torch.float32, "tie": torch.bool}
"""What is told of a pair beside its ids."""


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

    def columns(self) -> dict[str, list[Any]]:
        """What the trainer reads; a margin that a row does not give is 0."""
        return {
            "chosen_ids": self.chosen_ids,
            "rejected_ids": self.rejected_ids,
            "margin": [preference.margin or 0.0 for preference in self.judgements],
            "weight": self.weights,
            "tie": [preference.tie for preference in self.judgements],
        }

    def measure(self, scores: npt.NDArray[np.float64], training: "RenderedPairs") -> Agreement | None:
        """How often scores (2n,) of `rows` agree, the length rule beside it. None where all are ties."""
        differ = np.array([not preference.tie for preference in self.judgements])
        if not differ.any():
            return None
        chosen, rejected = np.split(scores, 2)
        return agreement(chosen[differ], rejected[differ], [one for one in self.judgements if not one.tie])


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
    trainer = PairsTrainer(
        model=model,
        args=config,
        data_collator=PairsCollator(pad_token_id=int(tokenizer.pad_token_id)),
        train_dataset=Dataset.from_dict(training.columns()),
        eval_dataset=None if held_out is None else Dataset.from_dict(held_out.columns()),
        processing_class=tokenizer,
        callbacks=[callback],
    )
    trainer.lengths = training.lengths
    return trainer


class PairsCollator(DataCollatorForPreference):
    """trl's, with what is told of each pair."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Ids and mask (2B, W), the chosen ones first; margin, weight and tie (B,)."""
        told = {name: torch.tensor([one[name] for one in examples], dtype=kind) for name, kind in TOLD.items()}
        return super().torch_call(examples) | told


class PairsTrainer(PaddingLittle, RewardTrainer):
    """trl's with the loss below. The `accuracy` in its log takes a tie's first side for the chosen one."""

    args: RewardConfig

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of one micro-batch, alone or with what the model gave."""
        margins, weights, ties = (inputs.pop(name) for name in TOLD)
        _, outputs = super().compute_loss(model, inputs, return_outputs=True)  # type: ignore[no-untyped-call]
        chosen, rejected = outputs.logits[:, 0].chunk(2)
        losses = pair_losses(chosen, rejected, margins, ties)
        if self.args.center_rewards_coefficient is not None:
            losses = losses + self.args.center_rewards_coefficient * (chosen + rejected) ** 2
        loss = (weights * losses).mean()
        return (loss, outputs) if return_outputs else loss
