"""Drawing tokens: the full softmax, and one stream of uniform numbers per response.

A response's stream depends on (run seed, prompt id, visit, sample index) alone: not on the worker, nor on what else is
in the batch.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plaudit.trajectory import RolloutRequest, Sampling


def uniforms(requests: Sequence[RolloutRequest], sampling: Sampling) -> npt.NDArray[np.float64]:
    """(B, max_new_tokens) in [0, 1): number t of a row draws its token t; a larger T only appends."""
    return np.stack([_stream(sampling.run_seed, request.id).random(sampling.max_new_tokens) for request in requests])


def _stream(run_seed: int, request_id: str) -> np.random.Generator:
    """Philox (Salmon et al. 2011), keyed by a hash: its numbers are the same on every platform."""
    digest = hashlib.sha256(f"{run_seed}:{request_id}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def draw(logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One token per row by inverting the cumulative distribution of softmax(logits / temperature), in float64.

    Args:
        logits: (B, V), of any float dtype.
        uniform: (B,) float64 in [0, 1).

    Returns:
        tokens (B,) int64 and their log-probabilities (B,) float64 under that distribution.
    """
    logprobs = torch.log_softmax(logits.double() / temperature, dim=-1)  # (B, V)
    cumulative = logprobs.exp().cumsum(dim=-1)
    total = cumulative[:, -1:]
    # Strictly below the total, so that rounding never runs past the last token of positive probability.
    target = torch.minimum(uniform[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, target, right=True)  # (B, 1)
    return tokens.squeeze(1), logprobs.gather(1, tokens).squeeze(1)
