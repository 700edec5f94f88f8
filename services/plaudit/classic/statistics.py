"""What a classic step says of itself, by trl 0.11's names. Every mean is over real response tokens."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plaudit.ppo.losses import clipped_value_loss, is_clipped, probability_ratio
from plaudit.ppo.passes import MicroLoss
from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.targets import Evaluation
from plaudit.trajectory import TrainingBatch

Statistics = dict[str, Any]


class OfMiniBatch:
    """One mini-batch's statistics, gathered from its micro-batches."""

    def __init__(self, ppo: PPOSettings) -> None:
        self._ppo = ppo
        self._tokens: list[dict[str, Tensor]] = []  # (N,) each

    def add(self, part: MicroLoss) -> None:
        """Takes one micro-batch."""
        with torch.no_grad():
            self._tokens.append({name: x[part.mask].cpu() for name, x in _per_token(part, self._ppo).items()})

    def summary(self) -> Statistics:
        """Means of what is a mean, and the tokens' advantages and ratios."""
        tokens = {name: torch.cat([part[name] for part in self._tokens]) for name in self._tokens[0]}
        mean = {name: float(x.double().mean()) for name, x in tokens.items()}
        return {
            "loss/policy": mean["policy_loss"],
            "loss/value": mean["value_loss"],
            "loss/total": mean["policy_loss"] + self._ppo.value_coef * mean["value_loss"],
            "policy/entropy": mean["entropy"],
            "policy/approxkl": mean["approx_kl"],
            "policy/policykl": mean["policy_kl"],
            "policy/clipfrac": mean["clipped"],
            "policy/advantages": tokens["advantage"].numpy(),
            "policy/advantages_mean": mean["advantage"],
            "policy/ratio": tokens["ratio"].numpy(),
            "returns/mean": mean["return"],
            "returns/var": _variance(tokens["return"]),
            "val/vpred": mean["value"],
            "val/error": mean["value_error"],
            "val/clipfrac": mean["value_clipped"],
            "val/mean": mean["old_value"],
            "val/var": _variance(tokens["old_value"]),
        }


def _per_token(part: MicroLoss, ppo: PPOSettings) -> dict[str, Tensor]:
    """(B, T) each."""
    outputs, targets = part.outputs, part.targets
    ratio = probability_ratio(outputs.logprobs, targets.old_logprobs)
    value_error = (outputs.values - targets.returns).square()
    value_loss = clipped_value_loss(outputs.values, targets.old_values, targets.returns, ppo.value_clip_range)
    return {
        "policy_loss": part.statistics["policy_loss"],
        "value_loss": value_loss,
        "entropy": outputs.entropies,
        "approx_kl": (outputs.logprobs - targets.old_logprobs).square() / 2,
        "policy_kl": targets.old_logprobs - outputs.logprobs,
        "clipped": is_clipped(ratio, targets.advantages, ppo.clip_range).float(),
        "advantage": targets.advantages,
        "ratio": ratio,
        "return": targets.returns,
        "value": outputs.values,
        "value_error": value_error,
        "value_clipped": (2 * value_loss > value_error).float(),
        "old_value": targets.old_values,
    }


def of_step(
    batch: TrainingBatch,
    scores: np.ndarray[Any, Any],
    evaluation: Evaluation,
    penalties: np.ndarray[Any, Any],
    kl_coef: float,
    minibatches: Sequence[Statistics],
) -> Statistics:
    """Of the whole step. `penalties` (B, T): the KL estimates; `scores` (B,): after scaling and clipping."""
    per_response = penalties.sum(axis=1, dtype=np.float64)
    queries = batch.attention_mask[:, : batch.prompt_length].sum(axis=1)
    responses = batch.attention_mask[:, batch.prompt_length :].sum(axis=1)
    found: Statistics = {
        "objective/kl": float(per_response.mean()),
        "objective/kl_dist": per_response,
        "objective/logprobs": evaluation.logprobs,
        "objective/ref_logprobs": evaluation.reference_logprobs,
        "objective/kl_coef": kl_coef,
        "objective/entropy": float(-evaluation.logprobs.sum(axis=1, dtype=np.float64).mean()),
        "ppo/mean_non_score_reward": float(-kl_coef * per_response.sum() / batch.response_mask.sum()),
        "ppo/mean_scores": float(scores.mean()),
        "ppo/std_scores": deviation(torch.from_numpy(scores)),
        **_lengths("queries", queries),
        **_lengths("responses", responses),
    }
    for name in minibatches[0]:
        each = [one[name] for one in minibatches]
        found[f"ppo/{name}"] = np.concatenate(each) if isinstance(each[0], np.ndarray) else float(np.mean(each))
    variance = found["ppo/returns/var"]
    found["ppo/val/var_explained"] = 1 - found["ppo/val/error"] / variance if variance > 0 else 0.0
    return found


def _lengths(name: str, lengths: np.ndarray[Any, Any]) -> Statistics:
    return {
        f"tokens/{name}_len_mean": float(lengths.mean()),
        f"tokens/{name}_len_std": deviation(torch.from_numpy(lengths)),
        f"tokens/{name}_dist": lengths.astype(np.float32),
    }


def deviation(numbers: Tensor) -> float:
    """With Bessel's correction; of a single number, 0."""
    return math.sqrt(_variance(numbers))


def _variance(numbers: Tensor) -> float:
    """With Bessel's correction; of a single number, 0."""
    return float(numbers.double().var()) if numbers.numel() > 1 else 0.0
