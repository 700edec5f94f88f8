"""From scores to advantages. Shapes: B responses, T tokens, right-padded; `mask` is true on real response tokens.

Everything here is float32 and over the whole batch, before it is cut into mini-batches, micro-batches or ranks.
"""

import torch
from torch import Tensor


def penalised_rewards(scores: Tensor, penalties: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """Reward per token (B, T): -kl_coef * penalty, plus the score (B,) at the last token (end of sequence, or cut)."""
    if not bool(mask.any(dim=1).all()):
        raise ValueError("a response without tokens has no place for its score")
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
    rewards = torch.where(mask, -kl_coef * penalties, 0.0)
    return rewards.scatter_add(1, last.unsqueeze(1), scores.unsqueeze(1))


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016): advantages and returns = advantages + values, (B, T).

    A scored response is terminal, whether it ended or was cut: the reward model has judged all of it, so the value
    after its last token is 0. Masked tokens are passed over: the token before one sees the one after. Returns are of
    the unwhitened advantages. Both are 0 where masked.
    """
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * gae_lambda * next_advantage
        advantages[:, t] = torch.where(mask[:, t], advantage, 0.0)
        next_advantage = torch.where(mask[:, t], advantage, next_advantage)
        next_value = torch.where(mask[:, t], values[:, t], next_value)
    return advantages, torch.where(mask, advantages + values, 0.0)


def rloo(totals: Tensor, groups: Tensor) -> Tensor:
    """(B,): each response's total reward less the mean of the other responses to its prompt (Ahmadian et al. 2024).

    `groups` (B,) has the same number for the responses of one prompt. One that is left alone, because the others have
    no reward, has no baseline: its advantage is 0.
    """
    sizes, sums = _by_group(totals, groups)
    others = (sums - totals) / (sizes - 1).clamp(min=1)
    return torch.where(sizes > 1, totals - others, 0.0)


def grpo(totals: Tensor, groups: Tensor) -> Tensor:
    """(B,): (total - mean) / (std + 1e-4) within the responses to one prompt (Shao et al. 2024, DeepSeekMath).

    The standard deviation is Bessel's, as in trl. Responses that all have the same reward teach nothing: 0.
    """
    sizes, sums = _by_group(totals, groups)
    centred = totals - sums / sizes
    _, squares = _by_group(centred.square(), groups)
    deviation = (squares / (sizes - 1).clamp(min=1)).sqrt()
    return centred / (deviation + 1e-4)


def _by_group(x: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) each: the size of a row's group, and the sum of `x` over it."""
    _, index = torch.unique(groups, return_inverse=True)
    counts = torch.bincount(index)
    sums = torch.zeros(len(counts), dtype=x.dtype).index_add(0, index, x)
    return counts[index], sums[index]


def whiten(x: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """Variance 1 over the unmasked (with Bessel's correction, as in trl); mean 0 too unless `shift_mean` is False.

    A single number has no variance: it is returned as it is.
    """
    chosen = x[mask]
    if chosen.numel() <= 1:
        return torch.where(mask, x, 0.0)
    mean, variance = chosen.mean(), chosen.var()
    whitened = (x - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(mask, whitened if shift_mean else whitened + mean, 0.0)
