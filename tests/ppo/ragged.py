"""Batches of ragged rows, and hypothesis strategies for the arrays of such batches."""

from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

from plaudit.trajectory import Prompt, RolloutRequest, ScoredTrajectory, TrainingBatch, Trajectory

EOS = 2
PAD = 0


def ragged_batch(
    seed: int = 0, rows: int = 8, longest_prompt: int = 6, longest_response: int = 7, vocabulary: int = 60
) -> TrainingBatch:
    """Random prompts and responses of random lengths; every second response ends with the end-of-sequence token."""
    rng = np.random.default_rng(seed)
    scored = []
    for row in range(rows):
        prompt = tuple(rng.integers(3, vocabulary, rng.integers(1, longest_prompt + 1)).tolist())
        response = tuple(rng.integers(3, vocabulary, rng.integers(1, longest_response + 1)).tolist())
        scored.append(scored_row(prompt, (*response[:-1], EOS) if row % 2 else response, float(rng.normal())))
    return TrainingBatch.assemble(scored, PAD)


def scored_row(prompt: tuple[int, ...], response: tuple[int, ...], score: float) -> ScoredTrajectory:
    """One row, as the trainer has it."""
    request = RolloutRequest(Prompt("p", prompt, text=""))
    reason = "stop" if response[-1] == EOS else "length"
    return ScoredTrajectory(Trajectory(request, response, "", np.zeros(len(response), np.float32), reason, 0), score)


def real_tokens(batch: TrainingBatch, row: int) -> tuple[list[int], list[int]]:
    """Prompt and response of a row, without padding."""
    width = batch.prompt_length
    prompt = batch.input_ids[row, :width][batch.attention_mask[row, :width]]
    return prompt.tolist(), batch.input_ids[row, width:][batch.response_mask[row]].tolist()


class Numbers(NamedTuple):
    """Ragged rows of numbers, several per token, as lists and as padded tensors with garbage where masked."""

    rows: list[list[tuple[float, ...]]]
    tensors: list[torch.Tensor]  # (B, T) each
    mask: torch.Tensor  # (B, T)


def numbers(per_token: int, size: float = 5.0) -> st.SearchStrategy[Numbers]:
    """Batches of 1 to 4 rows of 1 to 6 tokens."""
    number = st.integers(-1000, 1000).map(lambda n: n * size / 1000)
    token = st.tuples(*[number] * per_token)
    return st.lists(st.lists(token, min_size=1, max_size=6), min_size=1, max_size=4).map(_padded)


def _padded(rows: list[list[tuple[float, ...]]]) -> Numbers:
    width = max(map(len, rows))
    mask = torch.tensor([[t < len(row) for t in range(width)] for row in rows])
    tensors = [
        torch.tensor([[row[t][k] if t < len(row) else 1e6 for t in range(width)] for row in rows])
        for k in range(len(rows[0][0]))
    ]
    return Numbers(rows, tensors, mask)
