"""What a learner is asked, what it is told: plain numpy, so that it travels between processes.

Evaluation   of a batch by the weights before the update
Targets      what the update shall move towards, made from scores and that evaluation by `make_targets`
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from plaudit.ppo.advantages import gae, penalised_rewards, whiten
from plaudit.ppo.settings import PPOSettings
from plaudit.trajectory import TrainingBatch

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """(B, T) each, 0 where the response mask is false; at the sampling temperature."""

    logprobs: Floats
    reference_logprobs: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class Targets:
    """(B, T) each, 0 where the response mask is false; fixed over all epochs of an update."""

    old_logprobs: Floats
    old_values: Floats
    advantages: Floats
    returns: Floats


def make_targets(
    batch: TrainingBatch, evaluation: Evaluation, kl_coef: float, ppo: PPOSettings
) -> tuple[Targets, dict[str, float]]:
    """Penalised rewards, advantages and returns of a whole batch, and what there is to say about them.

    Statistics: kl (k1, nats per response, mean over responses), reward_mean (score less penalty, per response),
    advantage_std (before whitening), sampler_kl (of the sampler from the learner, nats per response; 0 if they agree).
    """
    mask = torch.from_numpy(batch.response_mask)
    logprobs, values = torch.from_numpy(evaluation.logprobs), torch.from_numpy(evaluation.values)
    reference_logprobs, scores = torch.from_numpy(evaluation.reference_logprobs), torch.from_numpy(batch.scores)
    rewards = penalised_rewards(scores, logprobs, reference_logprobs, mask, kl_coef)
    learnt_from = whiten(rewards, mask, shift_mean=False) if ppo.whiten_rewards else rewards
    advantages, returns = gae(learnt_from, values, mask, ppo.gamma, ppo.gae_lambda)
    statistics = {
        "kl": _per_response(evaluation.logprobs - evaluation.reference_logprobs, batch.response_mask),
        "sampler_kl": _per_response(batch.sampler_logprobs - evaluation.logprobs, batch.response_mask),
        "reward_mean": float(rewards.sum(dim=1).mean()),
        "advantage_std": float(advantages[mask].std(correction=0)),
    }
    if ppo.whiten_advantages:
        advantages = whiten(advantages, mask)
    return Targets(evaluation.logprobs, evaluation.values, advantages.numpy(), returns.numpy()), statistics


def explained_variance(values: Floats, returns: Floats, mask: npt.NDArray[np.bool_]) -> float:
    """1 - var(returns - values) / var(returns): 1 for a perfect critic, 0 for a constant, and where nothing varies."""
    variance = float(np.var(returns[mask], dtype=np.float64))
    return 1 - float(np.var((returns - values)[mask], dtype=np.float64)) / variance if variance > 0 else 0.0


def _per_response(x: Floats, mask: npt.NDArray[np.bool_]) -> float:
    """Summed over the tokens of a response, averaged over responses."""
    return float(np.where(mask, x, 0).sum(axis=1, dtype=np.float64).mean())
