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
    """Over one model, at one temperature; at most `max_rows` rows at a time, whatever their length.

    Where rows take less than the `passes` that other ranks run, silent ones follow: a pass in which no token counts, so
    that it adds exactly nothing. Ranks of a sharded model gather its weights together in each.
    """

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
    def evaluate(self, batch: TrainingBatch, rows: Rows, passes: int = 0) -> Evaluation:
        """Of the chosen rows: see `Learner.evaluate`."""
        self._model.eval()
        found = np.zeros((4, *batch.response_mask.shape), dtype=np.float32)
        for micro, padded in self._inputs(batch, rows, passes):
            outputs = self._model(padded, self._temperature)
            read = [outputs.logprobs, self._model.reference_logprobs(padded, self._temperature), outputs.values]
            if self._ppo.kl.estimator == "full":
                read.append(self._model.full_kl(padded, self._temperature))
            for array, tensor in zip(found, read, strict=False):
                array[micro, : tensor.shape[1]] += tensor.cpu().numpy()
        return Evaluation(*found[:, rows])

    def losses(
        self, batch: TrainingBatch, targets: Targets, rows: Rows, tokens: int, passes: int = 0
    ) -> Iterator[MicroLoss]:
        """Of the micro-batches of `rows`, each divided by the `tokens` of the whole mini-batch."""
        self._model.train()  # gradient checkpointing asks for it; there is no dropout for it to switch on
        for micro, padded in self._inputs(batch, rows, passes):
            outputs, mask = self._model(padded, self._temperature), padded.response_mask
            wanted = self._wanted(targets, micro, mask.shape[1])
            loss, statistics = objective(outputs, wanted, mask, tokens, targets.kl_loss_coef, self._ppo)
            yield MicroLoss(loss, statistics, outputs, wanted, mask)

    def text_losses(self, texts: TextBatch, rows: Rows, tokens: int, passes: int = 0) -> Iterator[Tensor]:
        """(): of pieces of `rows` that fit in memory; together the mean loss per token over `tokens`, times coef."""
        self._model.train()
        pieces = [texts.part(piece) for piece in self._pieces(texts, rows)]
        for piece in pieces + [texts.silent()] * (passes - len(pieces)):
            ids, mask = (torch.from_numpy(x).to(self._device) for x in (piece.input_ids, piece.attention_mask))
            yield -texts.coef * self._model.text_logprob(ids, mask) / tokens

    def count(self, batch: TrainingBatch, rows: Rows) -> int:
        """How many passes these rows take."""
        return sum(1 for _ in self._micro(batch, rows))

    def count_of_texts(self, texts: TextBatch, rows: Rows) -> int:
        return len(self._pieces(texts, rows))

    def padded(self, batch: TrainingBatch) -> PaddedRows:
        """On the device."""
        arrays = (batch.input_ids, batch.attention_mask, batch.response_mask)
        return PaddedRows(*(torch.from_numpy(array).to(self._device) for array in arrays))

    def _inputs(self, batch: TrainingBatch, rows: Rows, passes: int) -> Iterator[tuple[Rows, PaddedRows]]:
        """The micro-batches of `rows`, each with its rows' indices, and silent ones up to the number of `passes`."""
        micro = list(self._micro(batch, rows))
        for part in micro:
            yield part, self.padded(trimmed(batch, part))
        shortest = batch.attention_mask.sum(axis=1).argmin(keepdims=True)
        for _ in range(passes - len(micro)):
            padded = self.padded(trimmed(batch, shortest))
            yield shortest, padded._replace(response_mask=torch.zeros_like(padded.response_mask))

    def _micro(self, batch: TrainingBatch, rows: Rows) -> Iterator[Rows]:
        return microbatches(batch, rows, self._ppo.microbatch_tokens, self._max_rows)

    def _pieces(self, texts: TextBatch, rows: Rows) -> list[Rows]:
        size = max(1, self._ppo.microbatch_tokens // max(1, texts.input_ids.shape[1]))
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def _wanted(self, targets: Targets, rows: Rows, length: int) -> TargetTensors:
        arrays = (getattr(targets, name) for name in TargetTensors._fields)
        return TargetTensors(*(torch.from_numpy(array[rows, :length]).to(self._device) for array in arrays))
