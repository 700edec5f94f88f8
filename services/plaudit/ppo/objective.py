"""What one update step minimises, and the statistics that fall out of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from plaudit.policy.actor_critic import ResponseOutputs
from plaudit.ppo.collective import Collective
from plaudit.ppo.kl import k2, k3
from plaudit.ppo.losses import clipped_policy_loss, clipped_value_loss, is_clipped, probability_ratio, token_mean
from plaudit.ppo.settings import PPOSettings


class TargetTensors(NamedTuple):
    """`Targets` of the rows of one micro-batch, (B, T) each."""

    old_logprobs: Tensor
    reference_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


def objective(
    outputs: ResponseOutputs, targets: TargetTensors, mask: Tensor, tokens: int, kl_loss_coef: float, ppo: PPOSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of these rows, as their part of a mini-batch of `tokens` tokens, and statistics per token (B, T).

    Statistics: policy_loss, entropy (nats), clip_fraction, ratio_mean, ratio_error (|ratio - 1|), approx_kl (k3
    estimate of the KL of the old policy from the new one, per token), kl_loss (k2 from the reference, per token); with
    a critic value_loss and value_mean.
    """
    ratio = probability_ratio(outputs.logprobs, targets.old_logprobs)
    policy_loss = clipped_policy_loss(ratio, targets.advantages, ppo.clip_range)
    kl_loss = k2(outputs.logprobs, targets.reference_logprobs)
    per_token = policy_loss
    if kl_loss_coef:
        per_token = per_token + kl_loss_coef * kl_loss
    if ppo.entropy_coef:
        per_token = per_token - ppo.entropy_coef * outputs.entropies
    with torch.no_grad():
        statistics = {
            "policy_loss": policy_loss,
            "entropy": outputs.entropies,
            "clip_fraction": is_clipped(ratio, targets.advantages, ppo.clip_range),
            "ratio_mean": ratio,
            "ratio_error": (ratio - 1).abs(),
            "approx_kl": k3(targets.old_logprobs, outputs.logprobs),
            "kl_loss": kl_loss,
        }
    if ppo.learns_values:
        value_loss = clipped_value_loss(outputs.values, targets.old_values, targets.returns, ppo.value_clip_range)
        per_token = per_token + ppo.value_coef * value_loss
        statistics |= {"value_loss": value_loss, "value_mean": outputs.values.detach()}
    return token_mean(per_token, mask, tokens), statistics


class UpdateStatistics:
    """Masked sums of an update's statistics, over micro-batches and ranks: means weigh every token alike."""

    OF_POLICY = "policy_loss", "entropy", "clip_fraction", "ratio_mean", "ratio_error", "approx_kl", "kl_loss"
    OF_CRITIC = "value_loss", "value_mean"

    def __init__(self, collective: Collective, device: torch.device, *, learns_values: bool) -> None:
        self._names = self.OF_POLICY + (self.OF_CRITIC if learns_values else ())
        self._collective = collective
        self._device = device
        self._minibatches: list[Tensor] = []  # (K + 1,) each: K sums and the count of tokens
        self._gradient_norms: list[float] = []
        self._text_loss = torch.zeros((), dtype=torch.float64, device=device)  # summed over optimizer steps
        self._text_steps = 0

    def begin_minibatch(self) -> None:
        """Later `add`s belong to a new optimizer step."""
        self._minibatches.append(torch.zeros(len(self._names) + 1, dtype=torch.float64, device=self._device))

    def add(self, statistics: dict[str, Tensor], mask: Tensor) -> None:
        """Takes one micro-batch's statistics per token."""
        sums = [statistics[name].detach()[mask].sum(dtype=torch.float64) for name in self._names]
        self._minibatches[-1] += torch.stack([*sums, mask.sum().double()])

    def begin_texts(self) -> None:
        """Later `add_text`s belong to a new optimizer step."""
        self._text_steps += 1

    def add_text(self, loss: Tensor) -> None:
        """Takes a part of an optimizer step's mean loss on texts, nats per token."""
        self._text_loss += loss.detach().double()

    def approx_kl(self) -> float:
        """Of the mini-batch under way, over all ranks: nats per token."""
        sums = self._minibatches[-1].clone()
        self._collective.all_reduce_sum(sums)
        return float(sums[self._names.index("approx_kl")] / sums[-1])

    def end_minibatch(self, gradient_norm: float) -> None:
        """Takes the norm before clipping. A mini-batch that was computed and not learnt from has none."""
        self._gradient_norms.append(gradient_norm)

    def summary(self) -> dict[str, float]:
        """Token-weighted means over the update; the gradient's mean norm; and how far the first ratios are from 1.

        `optimizer_steps` counts the steps: fewer than were asked for where the KL from the old policy ended them.
        `first_ratio_error` should be 0, up to rounding: before the first step, old and new policy are one.
        """
        sums = torch.stack(self._minibatches)
        self._collective.all_reduce_sum(sums)
        means = (sums[:, :-1].sum(dim=0) / sums[:, -1].sum()).tolist()
        first_ratio_error = sums[0, self._names.index("ratio_error")] / sums[0, -1]
        of_texts = {}
        if self._text_steps:
            self._collective.all_reduce_sum(self._text_loss)
            of_texts = {"ptx_loss": float(self._text_loss) / self._text_steps}
        return (
            dict(zip(self._names, means, strict=True))
            | of_texts
            | {
                "first_ratio_error": float(first_ratio_error),
                "grad_norm": sum(self._gradient_norms) / max(1, len(self._gradient_norms)),
                "optimizer_steps": float(len(self._gradient_norms)),
            }
        )
