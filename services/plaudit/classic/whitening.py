"""`whiten_rewards` as trl 0.11 does it, padding included.

trl shifts and scales all columns, so those behind a response, where there was no reward, have one afterwards, and it
flows back into the response's advantages: the more padding, the more. It is kept because whoever sets `whiten_rewards`
here does it to get trl's numbers; `plaudit train` whitens real tokens alone.
"""

import dataclasses

import torch
from torch import Tensor

from plaudit.ppo.advantages import gae, penalised_rewards, whiten
from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.targets import Evaluation, Floats, Targets, penalties
from plaudit.trajectory import TrainingBatch


def with_whitened_rewards(
    targets: Targets,
    batch: TrainingBatch,
    scores: Floats,
    evaluation: Evaluation,
    kl_coef: float,
    ppo: PPOSettings,
    padding_side: str,
) -> Targets:
    """`targets` with other advantages and returns. `padding_side`: where trl would have padded, by its tokenizer."""
    mask = torch.from_numpy(batch.response_mask)
    rewards = penalised_rewards(torch.from_numpy(scores), penalties(evaluation, ppo), mask, kl_coef)
    lengths = torch.from_numpy(batch.attention_mask.sum(axis=1))
    behind = lengths.max() - lengths if padding_side == "right" else torch.zeros_like(lengths)
    columns = torch.arange(int(behind.max()))
    padding = columns < behind.unsqueeze(1)  # (B, K): behind each response, without a gap
    advantages, returns = gae(
        torch.cat([whiten(rewards, mask, shift_mean=False), torch.where(padding, _of_nothing(rewards[mask]), 0.0)], 1),
        torch.cat([torch.from_numpy(evaluation.values), torch.zeros(padding.shape)], dim=1),
        torch.cat([mask, padding], dim=1),
        ppo.gamma,
        ppo.gae_lambda,
    )
    width = mask.shape[1]
    whitened = whiten(advantages[:, :width], mask)
    return dataclasses.replace(targets, advantages=whitened.numpy(), returns=returns[:, :width].contiguous().numpy())


def _of_nothing(rewards: Tensor) -> Tensor:
    """What a reward of 0 becomes when these (N,) are whitened with their mean kept."""
    if rewards.numel() <= 1:
        return torch.zeros(())
    return rewards.mean() * (1 - torch.rsqrt(rewards.var() + 1e-8))
