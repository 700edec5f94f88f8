"""Which rows are computed together: mini-batches (one optimizer step) and micro-batches (what fits in memory)."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from plaudit.trajectory import TrainingBatch

Rows = npt.NDArray[np.int64]


def minibatches(rows: int, parts: int, seed: int, step: int, epoch: int) -> list[Rows]:
    """A permutation of `rows` that depends on (seed, step, epoch) and on nothing else, cut into at most `parts`."""
    permutation = np.random.default_rng([seed, step, epoch]).permutation(rows)
    return np.array_split(permutation, min(parts, rows))


def microbatches(batch: TrainingBatch, rows: Rows, max_tokens: int, max_rows: float = math.inf) -> Iterator[Rows]:
    """Cuts `rows` into groups of similar length, each at most `max_tokens` when padded (a longer row goes alone)."""
    prompt_lengths = batch.attention_mask[:, : batch.prompt_length].sum(axis=1)
    response_lengths = batch.attention_mask[:, batch.prompt_length :].sum(axis=1)
    order = rows[np.argsort(-(prompt_lengths + response_lengths)[rows], kind="stable")]
    start = 0
    for end in range(1, len(order) + 1):
        group = order[start : end + 1]
        width = prompt_lengths[group].max() + response_lengths[group].max()
        if end == len(order) or len(group) > max_rows or len(group) * width > max_tokens:
            yield order[start:end]
            start = end


def trimmed(batch: TrainingBatch, rows: Rows) -> TrainingBatch:
    """The chosen rows, without the columns that are padding in all of them. Response columns keep their index."""
    prompt = int(batch.attention_mask[rows, : batch.prompt_length].sum(axis=1).max())
    response = int(batch.attention_mask[rows, batch.prompt_length :].sum(axis=1).max())
    columns = slice(batch.prompt_length - prompt, batch.prompt_length + response)
    return TrainingBatch(
        input_ids=batch.input_ids[rows, columns],
        attention_mask=batch.attention_mask[rows, columns],
        response_mask=batch.response_mask[rows, :response],
        sampler_logprobs=batch.sampler_logprobs[rows, :response],
        scores=batch.scores[rows],
        truncated=batch.truncated[rows],
        groups=batch.groups[rows],
    )
