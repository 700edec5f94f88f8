"""Forward passes over a batch, a micro-batch at a time: the one place that knows both numpy rows and the model."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plaudit.policy.actor_critic import ActorCritic, PaddedRows, ResponseOutputs
from plaudit.ppo.batches import Rows, microbatches, trimmed
from plaudit.ppo.objective import TargetTensors, objective
from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.targets import Evaluation, Targets
from plaudit.ppo.texts import TextBatch
from plaudit.trajectory import TrainingBatch


class MicroLoss(NamedTuple):
    """A micro-batch's part of a mini-batch's loss, and what it came from; (B, T) per token."""

    loss: Tensor  # ()
    statistics: dict[str, Tensor]
    outputs: ResponseOutputs
    targets: TargetTensors
    mask: Tensor


class Passes:
    """Over one model, at one temperature; at most `max_rows` rows at a time, whatever their length."""

    def __init__(
        self,
        model: ActorCritic,
        ppo: PPOSettings,
        temperature: float,
        device: torch.device,
        max_rows: float = math.inf,
    ) -> None:
        self._model, self._ppo, self._temperature, self._device = model, ppo, temperature, device
        self._max_rows = max_rows

    @torch.no_grad()
    def evaluate(self, batch: TrainingBatch) -> Evaluation:
        """See `Learner.evaluate`."""
        self._model.eval()
        shape = batch.response_mask.shape
        logprobs, reference, values, full_kl = (np.zeros(shape, dtype=np.float32) for _ in range(4))
        for rows in self._micro(batch, np.arange(shape[0])):
            padded = self.padded(trimmed(batch, rows))
            columns = np.s_[rows, : padded.response_mask.shape[1]]
            outputs = self._model(padded, self._temperature)
            logprobs[columns] = outputs.logprobs.cpu().numpy()
            values[columns] = outputs.values.cpu().numpy()
            reference[columns] = self._model.reference_logprobs(padded, self._temperature).cpu().numpy()
            if self._ppo.kl.estimator == "full":
                full_kl[columns] = self._model.full_kl(padded, self._temperature).cpu().numpy()
        return Evaluation(logprobs, reference, values, full_kl)

    def losses(self, batch: TrainingBatch, targets: Targets, rows: Rows, tokens: int) -> Iterator[MicroLoss]:
        """Of the micro-batches of `rows`, each divided by the `tokens` of the whole mini-batch."""
        self._model.train()  # gradient checkpointing asks for it; there is no dropout for it to switch on
        for micro in self._micro(batch, rows):
            padded = self.padded(trimmed(batch, micro))
            outputs, mask = self._model(padded, self._temperature), padded.response_mask
            wanted = self._wanted(targets, micro, mask.shape[1])
            loss, statistics = objective(outputs, wanted, mask, tokens, targets.kl_loss_coef, self._ppo)
            yield MicroLoss(loss, statistics, outputs, wanted, mask)

    def text_losses(self, texts: TextBatch, rows: Rows, tokens: int) -> Iterator[Tensor]:
        """(): of pieces of `rows` that fit in memory; together the mean loss per token over `tokens`, times coef."""
        self._model.train()
        size = max(1, self._ppo.microbatch_tokens // max(1, texts.input_ids.shape[1]))
        for start in range(0, len(rows), size):
            part = texts.part(rows[start : start + size])
            ids, mask = (torch.from_numpy(x).to(self._device) for x in (part.input_ids, part.attention_mask))
            yield -texts.coef * self._model.text_logprobs(ids, mask).sum() / tokens

    def padded(self, batch: TrainingBatch) -> PaddedRows:
        """On the device."""
        arrays = (batch.input_ids, batch.attention_mask, batch.response_mask)
        return PaddedRows(*(torch.from_numpy(array).to(self._device) for array in arrays))

    def _micro(self, batch: TrainingBatch, rows: Rows) -> Iterator[Rows]:
        return microbatches(batch, rows, self._ppo.microbatch_tokens, self._max_rows)

    def _wanted(self, targets: Targets, rows: Rows, length: int) -> TargetTensors:
        arrays = (getattr(targets, name) for name in TargetTensors._fields)
        return TargetTensors(*(torch.from_numpy(array[rows, :length]).to(self._device) for array in arrays))
