"""Rows of token ids as a reward model reads them, and the scores that it gives them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plaudit.finetune.classifier import Classifier
from plaudit.telemetry.progress import bar

TOKENS_PER_FORWARD = 16_384
Ids = list[int]


def padded_ids(rows: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, Tensor]:
    """Ids and attention mask (B, W), padded on the right."""
    ids = torch.full((len(rows), max(map(len, rows))), pad_token_id)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def score_ids(
    model: Classifier, rows: Sequence[Sequence[int]], pad_token_id: int, name: str
) -> npt.NDArray[np.float64]:
    """Raw scores (n,) of rows of ids, in evaluation mode; rows of like length share a forward pass."""
    scores = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
    training, device = model.training, next(model.parameters()).device
    model.eval()
    with bar(name, len(rows)) as shown, torch.inference_mode():
        while order:
            width = len(rows[order[0]])
            batch, order = _split(order, max(1, TOKENS_PER_FORWARD // max(width, 1)))
            inputs = padded_ids([rows[index] for index in batch], pad_token_id)
            logits = model(**{key: value.to(device) for key, value in inputs.items()}).logits
            scores[batch] = logits[:, 0].float().cpu().numpy()
            shown.advance(len(batch))
    model.train(training)
    return scores


def _split(order: list[int], count: int) -> tuple[list[int], list[int]]:
    return order[:count], order[count:]
