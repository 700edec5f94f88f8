"""The ragged lists that a classic step is given, as one batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from plaudit.trajectory import TrainingBatch, padded


def rows_of(
    queries: Sequence[Tensor],
    responses: Sequence[Tensor],
    scores: Sequence[Tensor],
    response_masks: Sequence[Tensor] | None,
    batch_size: int,
    end_of_sequence: int | None,
) -> TrainingBatch:
    """Queries padded on the left, responses on the right. Raises ValueError, naming what is wrong."""
    _check(queries, responses, scores, response_masks, batch_size)
    asked, answered = ([one.tolist() for one in tensors] for tensors in (queries, responses))
    input_ids, attention_mask, response_mask = padded(asked, answered, pad_token_id=0)
    for row, own in enumerate(response_masks or []):
        response_mask[row, : len(own)] = own.cpu().numpy().astype(np.bool_)
    return TrainingBatch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        response_mask=response_mask,
        sampler_logprobs=np.zeros(response_mask.shape, dtype=np.float32),  # nobody kept them
        scores=np.array([float(score) for score in scores], dtype=np.float32),
        truncated=np.array([response[-1] != end_of_sequence for response in answered]),
        groups=np.arange(len(queries)),
    )


def _check(
    queries: Sequence[Tensor],
    responses: Sequence[Tensor],
    scores: Sequence[Tensor],
    response_masks: Sequence[Tensor] | None,
    batch_size: int,
) -> None:
    given = {"queries": queries, "responses": responses, "scores": scores}
    if response_masks is not None:
        given["response_masks"] = response_masks
    for name, tensors in given.items():
        if not isinstance(tensors, list) or not all(isinstance(one, Tensor) for one in tensors):
            raise ValueError(f"{name} must be a list of tensors")
        if len(tensors) != batch_size:
            raise ValueError(f"{name}: {len(tensors)} of them, but batch_size is {batch_size}")
    for row, (query, response, score) in enumerate(zip(queries, responses, scores, strict=True)):
        if query.dim() != 1 or response.dim() != 1 or not len(query) or not len(response):
            raise ValueError(f"row {row}: query and response must be ids of shape (L,), at least one each")
        if score.numel() != 1 or not bool(torch.isfinite(score.float()).all()):
            raise ValueError(f"row {row}: the score must be one finite number: {score.tolist()}")
    for row, (mask, response) in enumerate(zip(response_masks or [], responses, strict=False)):
        if mask.shape != response.shape or not bool(mask.any()):
            raise ValueError(f"row {row}: the response mask must have the response's shape and at least one 1")


def collate(rows: list[dict[str, Any]]) -> Any:
    """torch's own batch where it can make one; columns of ragged ids become lists of tensors (L,)."""
    try:
        return default_collate(rows)
    except (RuntimeError, TypeError):
        return {name: [_as_tensor(row[name]) for row in rows] for name in rows[0]}


def _as_tensor(value: Any) -> Any:
    return torch.as_tensor(value) if isinstance(value, list) and all(isinstance(x, int) for x in value) else value
