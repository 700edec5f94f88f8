"""The mathematics once more, slowly: one response, one token at a time, in Python floats, as the papers write it."""

import math
import statistics
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel


def penalised_rewards(score: float, logprobs: Sequence[float], reference: Sequence[float], coef: float) -> list[float]:
    """Of one response: -coef * (log pi - log pi_ref) at each token, and the score at the last."""
    rewards = [-coef * (ours - theirs) for ours, theirs in zip(logprobs, reference, strict=True)]
    rewards[-1] += score
    return rewards


def gae(
    rewards: Sequence[float], values: Sequence[float], gamma: float, gae_lambda: float
) -> tuple[list[float], list[float]]:
    """Of one terminal response, by the definition: A_t = sum over k of (gamma lambda)^k delta_{t+k}."""
    v = [*values, 0.0]
    deltas = [rewards[t] + gamma * v[t + 1] - v[t] for t in range(len(rewards))]
    advantages = [
        sum((gamma * gae_lambda) ** k * deltas[t + k] for k in range(len(deltas) - t)) for t in range(len(deltas))
    ]
    return advantages, [a + value for a, value in zip(advantages, values, strict=True)]


def rloo(totals: Sequence[float], groups: Sequence[int]) -> list[float]:
    """Each total less the mean of the others of its group; 0 where there is no other."""
    found = []
    for i, total in enumerate(totals):
        others = [other for j, other in enumerate(totals) if groups[j] == groups[i] and j != i]
        found.append(total - sum(others) / len(others) if others else 0.0)
    return found


def grpo(totals: Sequence[float], groups: Sequence[int]) -> list[float]:
    """Each total less its group's mean, over its group's standard deviation."""
    found = []
    for i, total in enumerate(totals):
        group = [other for j, other in enumerate(totals) if groups[j] == groups[i]]
        deviation = statistics.stdev(group) if len(group) > 1 else 0.0
        found.append((total - statistics.fmean(group)) / (deviation + 1e-4))
    return found


def whitened(numbers: Sequence[float], shift_mean: bool) -> list[float]:
    """Of all tokens of a batch."""
    mean = sum(numbers) / len(numbers)
    variance = sum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)
    return [(x - mean) / math.sqrt(variance + 1e-8) + (0.0 if shift_mean else mean) for x in numbers]


def policy_loss(logprob: float, old_logprob: float, advantage: float, clip_range: float) -> float:
    """Of one token."""
    ratio = math.exp(logprob - old_logprob)
    clipped = min(max(ratio, 1 - clip_range), 1 + clip_range)
    return -min(ratio * advantage, clipped * advantage)


def value_loss(value: float, old_value: float, target: float, clip_range: float) -> float:
    """Of one token."""
    clipped = min(max(value, old_value - clip_range), old_value + clip_range)
    return 0.5 * max((value - target) ** 2, (clipped - target) ** 2)


@torch.no_grad()
def response_logprobs(
    causal_lm: PreTrainedModel, prompt: Sequence[int], response: Sequence[int], temperature: float
) -> tuple[list[float], list[float]]:
    """Log-probabilities and entropies of one response: the row alone, unpadded, the model's own logits."""
    logits = causal_lm(torch.tensor([[*prompt, *response]])).logits[0].double() / temperature
    distributions = [torch.distributions.Categorical(logits=row) for row in logits]
    at = [distributions[len(prompt) - 1 + t] for t in range(len(response))]
    logprobs = [float(d.log_prob(torch.tensor(token))) for d, token in zip(at, response, strict=True)]
    return logprobs, [float(d.entropy()) for d in at]
