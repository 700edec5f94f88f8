"""What a learner is asked, what it is told: plain numpy, so that it travels between processes.

Evaluation   of a batch by the weights before the update
Targets      what the update shall move towards, made from scores and that evaluation by `make_targets`
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plaudit.ppo.advantages import gae, grpo, penalised_rewards, rloo, whiten
from plaudit.ppo.kl import PENALTIES
from plaudit.ppo.settings import PPOSettings
from plaudit.trajectory import TrainingBatch
from plaudit.uncertainty import mean

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """(B, T) each, 0 where the response mask is false; at the sampling temperature."""

    logprobs: Floats
    reference_logprobs: Floats
    values: Floats
    full_kl: Floats  # over the whole vocabulary, in the state of each token; 0 where the settings do not ask for it


@dataclass(frozen=True, slots=True)
class Targets:
    """(B, T) each, 0 where the response mask is false; fixed over all epochs of an update."""

    old_logprobs: Floats
    reference_logprobs: Floats
    old_values: Floats
    advantages: Floats
    returns: Floats
    kl_loss_coef: float = 0.0  # of the KL as a loss; 0 where it is in the rewards


def make_targets(
    batch: TrainingBatch, evaluation: Evaluation, kl_coef: float, ppo: PPOSettings, scores: Floats | None = None
) -> tuple[Targets, dict[str, float]]:
    """Penalised rewards, advantages and returns of a whole batch, and what there is to say about them.

    `scores` (B,): those to learn from, if not the batch's own. Statistics: kl (k1, nats per response, mean over
    responses) and kl_standard_error, reward_mean (score less penalty, per response), advantage_std (before whitening),
    sampler_kl (of the sampler from the learner, nats per response; 0 if they agree), sampler_weight_mean
    (`sampler_weights`, per token).
    """
    mask = torch.from_numpy(batch.response_mask)
    in_reward = 0.0 if ppo.kl_in_loss else kl_coef
    given = torch.from_numpy(batch.scores if scores is None else scores)
    rewards = penalised_rewards(given, penalties(evaluation, ppo), mask, in_reward)
    advantages, returns = _advantages(rewards, batch, evaluation, ppo)
    kl = mean(_per_response(evaluation.logprobs - evaluation.reference_logprobs, batch.response_mask))
    statistics = {
        "kl": kl.value,
        "kl_standard_error": kl.standard_error or 0.0,
        "sampler_kl": float(_per_response(batch.sampler_logprobs - evaluation.logprobs, batch.response_mask).mean()),
        "reward_mean": float(rewards.sum(dim=1).mean()),
        "advantage_std": float(advantages[mask].std(correction=0)),
    }
    if ppo.whitens:
        advantages = whiten(advantages, mask)
    weights = sampler_weights(evaluation.logprobs - batch.sampler_logprobs, ppo)
    statistics["sampler_weight_mean"] = float(weights[batch.response_mask].mean())
    targets = Targets(
        old_logprobs=evaluation.logprobs,
        reference_logprobs=evaluation.reference_logprobs,
        old_values=evaluation.values,
        advantages=weights * advantages.numpy(),  # weights are not negative: as good as weighing the clipped loss
        returns=returns.numpy(),
        kl_loss_coef=kl_coef if ppo.kl_in_loss else 0.0,
    )
    return targets, statistics


def sampler_weights(log_ratio: Floats, ppo: PPOSettings) -> Floats:
    """(B, T): how much likelier the learner finds each token than the sampler did, within bounds; 1 if they agree.

    The workers' kernels, type or weights may differ from the learner's. PPO's ratio corrects from the learner before
    the update to the learner now; this weight from the sampler to the learner before the update. Bounded, it is biased
    and of finite variance ("truncate": Ionides 2008; "mask": IcePop). The loss is still divided by all tokens.
    """
    if ppo.sampler_correction == "none":
        return np.ones_like(log_ratio)
    cap = np.float32(ppo.sampler_weight_cap)
    weights: Floats = np.exp(
        np.minimum(log_ratio, np.log(cap) + 1)
    )  # no overflow: beyond the cap, size does not matter
    if ppo.sampler_correction == "truncate":
        return np.minimum(weights, cap)
    return np.where((weights >= 1 / cap) & (weights <= cap), weights, np.float32(0)).astype(np.float32)


def penalties(evaluation: Evaluation, ppo: PPOSettings) -> Tensor:
    """(B, T): the KL estimate of each token that the settings ask for."""
    if ppo.kl.estimator == "full":
        return torch.from_numpy(evaluation.full_kl)
    estimate = PENALTIES[ppo.kl.estimator]
    return estimate(torch.from_numpy(evaluation.logprobs), torch.from_numpy(evaluation.reference_logprobs))


def _advantages(
    rewards: Tensor, batch: TrainingBatch, evaluation: Evaluation, ppo: PPOSettings
) -> tuple[Tensor, Tensor]:
    """Advantages and returns (B, T). Without a critic each token has its response's advantage, and no return."""
    mask = torch.from_numpy(batch.response_mask)
    if ppo.learns_values:
        learnt_from = whiten(rewards, mask, shift_mean=False) if ppo.whiten_rewards else rewards
        return gae(learnt_from, torch.from_numpy(evaluation.values), mask, ppo.gamma, ppo.gae_lambda)
    baseline = {"rloo": rloo, "grpo": grpo}[ppo.advantages]
    of_response = baseline(rewards.sum(dim=1), torch.from_numpy(batch.groups))
    return torch.where(mask, of_response.unsqueeze(1), 0.0), torch.zeros_like(rewards)


def explained_variance(values: Floats, returns: Floats, mask: npt.NDArray[np.bool_]) -> float:
    """1 - var(returns - values) / var(returns): 1 for a perfect critic, 0 for a constant, and where nothing varies."""
    variance = float(np.var(returns[mask], dtype=np.float64))
    return 1 - float(np.var((returns - values)[mask], dtype=np.float64)) / variance if variance > 0 else 0.0


def _per_response(x: Floats, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(B,) summed over the tokens of a response."""
    summed: npt.NDArray[np.float64] = np.where(mask, x, 0).sum(axis=1, dtype=np.float64)
    return summed
