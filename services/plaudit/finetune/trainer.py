"""The trainer of every reward model: transformers' own, with the loss of whichever judgements it is given.

element     one judgement: the ids of its responses, its weight, what was said
batch       ids and mask (R, W) of all responses to so many judgements, what was said of them, and how many they are
loss        the mean over the judgements of an optimiser step, however it is split into micro-batches
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

from plaudit.finetune.classifier import Classifier
from plaudit.finetune.fitting import Element, Fitting, Judged, Loss
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.sampling import PaddingLittle
from plaudit.finetune.token_rows import padded_ids
from plaudit.finetune.training import trainer_arguments

READ = ("input_ids", "attention_mask")
COUNTED = "labels"
"""A number for each judgement: transformers counts a step's by this name."""


class JudgementsTrainer(PaddingLittle):
    """Of one reward model. What is `watched` goes into the log beside the loss."""

    compute_loss_func: Loss

    def __init__(
        self,
        settings: RewardModelSettings,
        model: Classifier,
        tokenizer: PreTrainedTokenizerBase,
        training: Fitting[Judged],
        held_out: Fitting[Judged] | None,
        callback: TrainerCallback,
    ) -> None:
        arguments: dict[str, Any] = trainer_arguments(settings.training, settings.base, settings.output, len(training))
        pad = int(tokenizer.pad_token_id)
        super().__init__(
            model=model,
            args=TrainingArguments(**arguments, eval_strategy="no" if held_out is None else "epoch"),
            data_collator=lambda elements: collate(training, elements, pad),
            train_dataset=training.elements(settings),
            eval_dataset=None if held_out is None else held_out.elements(settings),
            compute_loss_func=training.loss(settings),
            callbacks=[callback],
            lengths=training.lengths,
        )
        self._watched = training.watched
        self._seen: dict[str, list[Tensor]] = defaultdict(list)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of one micro-batch, its part of the whole step's, alone or with what the model gave."""
        count = len(inputs[COUNTED]) if num_items_in_batch is None else num_items_in_batch
        outputs = model(**{name: inputs[name] for name in READ}, use_cache=False)
        rewards = outputs.logits[:, 0].float()
        for name, values in self._watched(rewards.detach(), inputs).items():
            self._seen[name].append(values)
        loss = self.compute_loss_func(rewards, inputs) / count
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Of training or of what is held out: with whatever was seen since the last time."""
        prefix = "eval_" if "eval_loss" in logs else ""
        seen = {name: torch.cat(values) for name, values in self._seen.items()}
        means = {f"{prefix}{name}": float(values.mean()) for name, values in seen.items() if len(values)}
        self._seen.clear()
        super().log({**logs, **means}, start_time)


def collate(part: Fitting[Judged], elements: Sequence[Element], pad_token_id: int) -> dict[str, Tensor]:
    """A batch."""
    rows = [row for element in elements for row in element["ids"]]
    return {COUNTED: torch.zeros(len(elements))} | padded_ids(rows, pad_token_id) | part.told(elements)
