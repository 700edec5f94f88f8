"""What one update step minimises, and the statistics that fall out of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from plaudit.policy.actor_critic import ResponseOutputs
from plaudit.ppo.collective import Collective
from plaudit.ppo.kl import k3
from plaudit.ppo.losses import clipped_policy_loss, clipped_value_loss, is_clipped, probability_ratio, token_mean
from plaudit.ppo.settings import PPOSettings


class TargetTensors(NamedTuple):
    """`Targets` of the rows of one micro-batch, (B, T) each."""

    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


def objective(
    outputs: ResponseOutputs, targets: TargetTensors, mask: Tensor, tokens: int, ppo: PPOSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of these rows, as their part of a mini-batch of `tokens` tokens, and statistics per token (B, T).

    Statistics: policy_loss, value_loss, entropy (nats), clip_fraction, ratio_mean, ratio_error (|ratio - 1|),
    approx_kl (k3 estimate of the KL of the old policy from the new one, per token), value_mean.
    """
    ratio = probability_ratio(outputs.logprobs, targets.old_logprobs)
    policy_loss = clipped_policy_loss(ratio, targets.advantages, ppo.clip_range)
    value_loss = clipped_value_loss(outputs.values, targets.old_values, targets.returns, ppo.value_clip_range)
    per_token = policy_loss + ppo.value_coef * value_loss
    if ppo.entropy_coef:
        per_token = per_token - ppo.entropy_coef * outputs.entropies
    with torch.no_grad():
        statistics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": outputs.entropies,
            "clip_fraction": is_clipped(ratio, targets.advantages, ppo.clip_range),
            "ratio_mean": ratio,
            "ratio_error": (ratio - 1).abs(),
            "approx_kl": k3(targets.old_logprobs, outputs.logprobs),
            "value_mean": outputs.values,
        }
    return token_mean(per_token, mask, tokens), statistics


class UpdateStatistics:
    """Masked sums of an update's statistics, over micro-batches and ranks: means weigh every token alike."""

    NAMES = (
        "policy_loss", "value_loss", "entropy", "clip_fraction", "ratio_mean", "ratio_error", "approx_kl", "value_mean",
    )  # fmt: skip

    def __init__(self, collective: Collective, device: torch.device) -> None:
        self._collective = collective
        self._device = device
        self._minibatches: list[Tensor] = []  # (K + 1,) each: K sums and the count of tokens
        self._gradient_norms: list[float] = []

    def begin_minibatch(self) -> None:
        """Later `add`s belong to a new optimizer step."""
        self._minibatches.append(torch.zeros(len(self.NAMES) + 1, dtype=torch.float64, device=self._device))

    def add(self, statistics: dict[str, Tensor], mask: Tensor) -> None:
        """Takes one micro-batch's statistics per token."""
        sums = [statistics[name].detach()[mask].sum(dtype=torch.float64) for name in self.NAMES]
        self._minibatches[-1] += torch.stack([*sums, mask.sum().double()])

    def end_minibatch(self, gradient_norm: float) -> None:
        """Takes the norm before clipping."""
        self._gradient_norms.append(gradient_norm)

    def summary(self) -> dict[str, float]:
        """Token-weighted means over the update; the gradient's mean norm; and how far the first ratios are from 1.

        `first_ratio_error` should be 0, up to rounding: before the first step, old and new policy are one.
        """
        sums = torch.stack(self._minibatches)
        self._collective.all_reduce_sum(sums)
        means = (sums[:, :-1].sum(dim=0) / sums[:, -1].sum()).tolist()
        first_ratio_error = sums[0, self.NAMES.index("ratio_error")] / sums[0, -1]
        return dict(zip(self.NAMES, means, strict=True)) | {
            "first_ratio_error": float(first_ratio_error),
            "grad_norm": sum(self._gradient_norms) / len(self._gradient_norms),
        }
