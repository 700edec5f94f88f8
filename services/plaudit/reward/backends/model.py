"""A Hugging Face classifier in batches, giving what it gives for one item alone."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from plaudit.context import check_context
from plaudit.errors import ConfigurationError
from plaudit.reward.batcher import Budget, OutOfMemory
from plaudit.reward.loading import Values, load_model, pad_id, read_out, values_alone

PARITY = {torch.float32: 1e-5, torch.bfloat16: 5e-2}
"""How far a padded batch may be from single items, in units of max(1, |score|), for padding to be used at all."""

ABOUT, CLEARLY, PATIENCE = 1.03, 1.15, 2.0
"""How much dearer than at best a token may be; at which no larger batch is tried; and for how many seconds they are."""

Ids = tuple[int, ...]


class ModelBackend:
    """Reads scores out through the model's own forward.

    Batches are padded on the right: positions then count from the first token as for one item, causal attention never
    sees the padding and a mask hides it from the others. Whether that holds for this architecture is tried once, with
    rows of different length; where it does not, only rows of equal length may share a batch.
    """

    def __init__(self, folder: Path, *, dtype: str, device: str, max_tokens: int) -> None:
        self._device = _device(device)
        self._model = load_model(folder, getattr(torch, dtype))
        torch.nn.Module.to(self._model, self._device)
        self._max_tokens = max_tokens
        self._check_length(folder)
        self.pads = self._padding_is_harmless()

    @property
    def vocabulary(self) -> int:
        """Token ids are below it."""
        return int(self._model.config.get_text_config().vocab_size)

    @property
    def self_test_tolerance(self) -> float:
        """Of the folder's scores, which were written in float32."""
        return 100 * PARITY[self._model.dtype]

    def forward(self, rows: list[Ids]) -> list[Values]:
        """The raw values of each row of ids; raises OutOfMemory."""
        try:
            return self._padded(rows)
        except torch.OutOfMemoryError:
            raise OutOfMemory from None

    def alone(self, row: Sequence[int]) -> Values:
        """The reference: one item, no padding."""
        return values_alone(self._model, row)

    def _padded(self, rows: list[Ids]) -> list[Values]:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), pad_id(self._model))
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        with torch.inference_mode():
            logits = self._model(input_ids=ids.to(self._device), attention_mask=mask.to(self._device)).logits
        return read_out(logits, [len(row) for row in rows])

    def _padding_is_harmless(self) -> bool:
        width = min(24, self._max_tokens)
        rows = [self._row(length, step=7 * length) for length in (1, width // 2 + 1, width)]
        tolerance = PARITY[self._model.dtype]
        return all(
            abs(found - expected) <= tolerance * max(1.0, abs(expected))
            for padded, row in zip(self._padded(rows), rows, strict=True)
            for found, expected in zip(padded, self.alone(row), strict=True)
        )

    def best_budget(self, max_tokens: int) -> Budget:
        """What a batch of at most `max_tokens` should be on this device: measured, a CPU and a GPU are far apart.

        Tries batches of doubling size until a token costs clearly more, or they don't fit, or it takes too long. The
        largest one that is about as good as the best is chosen: the curve is flat there, and measured in a hurry. As
        much of it may be padding as a forward costs before its first token: more would be dearer than a forward more.
        """
        if not self.pads:
            return Budget(max_tokens, waste=0)
        width, began = min(64, self._max_tokens), time.perf_counter()
        short = self._fastest([self._row(1)])
        per_token: dict[int, float] = {}
        tokens = width
        while not per_token or (tokens <= max_tokens and time.perf_counter() - began < PATIENCE):
            try:
                per_token[tokens] = self._fastest([self._row(width)] * (tokens // width)) / tokens
            except torch.OutOfMemoryError:
                break
            if per_token[tokens] > CLEARLY * min(per_token.values()):
                break
            tokens *= 2
        best = min(per_token.values(), default=short)
        chosen = max((tokens for tokens in per_token if per_token[tokens] <= ABOUT * best), default=width)
        cost = min(chosen, max_tokens)
        return Budget(cost, waste=max(0.0, (short - best) / best), seconds=cost * per_token.get(chosen, short))

    def _fastest(self, rows: list[Ids]) -> float:
        """Seconds; the faster of two is the less disturbed by what else the machine does. One more goes before."""
        self._padded(rows)
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            self._padded(rows)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    def _row(self, length: int, step: int = 7) -> Ids:
        return tuple((step * i) % self.vocabulary for i in range(1, length + 1))

    def _check_length(self, folder: Path) -> None:
        """Also the warm-up: the longest input the rendering lets through must run."""
        check_context(self._model.config, self._max_tokens, f"{folder}: rendering.max_tokens")
        try:
            self.alone([1 % self.vocabulary] * self._max_tokens)
        except (IndexError, RuntimeError):
            raise ConfigurationError(
                f"{folder} does not run on {self._max_tokens} tokens: lower rendering.max_tokens"
            ) from None


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigurationError(f"no device '{name}' here: use cpu, or cuda where there is one") from None
    return device
