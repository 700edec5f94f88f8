"""What is judged by itself, one response a row: the trainer that ratings and thumbs share."""

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

from plaudit.finetune.classifier import Classifier
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.sampling import PaddingLittle
from plaudit.finetune.token_rows import Fitting, padded_ids
from plaudit.finetune.training import trainer_arguments

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of rewards and labels (B,), each row by itself."""


def responses_trainer(
    settings: RewardModelSettings,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: Fitting[Any],
    held_out: Fitting[Any] | None,
    labels: Callable[[Any], list[float]],
    loss: Loss,
    callback: TrainerCallback,
) -> Trainer:
    """transformers' own, with a loss that is the weighted mean over the rows of an optimiser step."""
    arguments: dict[str, Any] = trainer_arguments(settings.training, settings.base, settings.output, len(training))
    pad = int(tokenizer.pad_token_id)
    parts = [None if part is None else _dataset(part, labels(part)) for part in (training, held_out)]
    trainer = ResponsesTrainer(
        model=model,
        args=TrainingArguments(**arguments, eval_strategy="no" if held_out is None else "epoch"),
        data_collator=lambda rows: collate(rows, pad),
        train_dataset=parts[0],
        eval_dataset=parts[1],
        compute_loss_func=loss,
        callbacks=[callback],
    )
    trainer.lengths = training.lengths
    return trainer


class ResponsesTrainer(PaddingLittle):
    """transformers' own, its `compute_loss_func` with a loss for each row."""

    compute_loss_func: Loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of one micro-batch, its part of the whole step's, alone or with what the model gave."""
        labels, weights = inputs.pop("labels"), inputs.pop("weights")
        outputs = model(**inputs)
        losses = weights * self.compute_loss_func(outputs.logits[:, 0].float(), labels)
        loss = losses.sum() / (len(labels) if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


def collate(rows: list[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """Ids and mask (B, W), labels and weights (B,)."""
    told = {name: torch.tensor([row[name] for row in rows]) for name in ("labels", "weights")}
    return padded_ids([row["input_ids"] for row in rows], pad_token_id) | told


def _dataset(part: Fitting[Any], labels: list[float]) -> Dataset:
    return Dataset.from_dict({"input_ids": part.rows, "labels": labels, "weights": part.weights})
