"""PPO's losses per token (B, T), and the one way in which they become a number.

Losses are summed over tokens and divided by the tokens of the *whole* mini-batch, over all micro-batches and ranks. So
the gradient is a property of the mini-batch, not of how it was cut.
"""

import torch
from torch import Tensor


def probability_ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """pi(y) / pi_old(y) per token."""
    return torch.exp(logprobs - old_logprobs)


def clipped_policy_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """The pessimistic one of the clipped and the unclipped loss (Schulman et al. 2017, equation 7)."""
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(-advantages * ratio, -advantages * clipped)


def is_clipped(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """Where clipping took the gradient away: the ratio has left the range in the direction the advantage pushes."""
    return torch.where(advantages >= 0, ratio > 1 + clip_range, ratio < 1 - clip_range)


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float) -> Tensor:
    """Half the worse of two squared errors, the second one's move away from the rollout's value clipped."""
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return torch.maximum((values - returns).square(), (clipped - returns).square()) / 2


def token_mean(per_token: Tensor, mask: Tensor, tokens: int) -> Tensor:
    """The masked sum over `tokens`, the count of unmasked tokens in the whole mini-batch."""
    return torch.where(mask, per_token, 0.0).sum() / tokens
