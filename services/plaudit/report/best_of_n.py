"""Best-of-n: what the starting policy reaches by answering n times and keeping the answer that scores highest.

It needs no training, so every run is compared with it. Its KL from the policy it draws from is at most
log n - (n - 1) / n (Beirami et al. 2024, arXiv:2401.01879).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from plaudit.report.estimates import Reading
from plaudit.report.run_folder import Sample
from plaudit.uncertainty import Estimate, mean


@dataclass(frozen=True)
class BestOfN:
    """One n."""

    n: int
    kl_bound: float  # nats per response
    score: Estimate | None  # over prompts
    gold: Estimate | None  # of the answer that the reward model likes best


def best_of_n(samples: Sequence[Sample]) -> list[BestOfN]:
    """For n = 1, 2, 4 ... up to the answers that each prompt has; empty without samples."""
    groups = defaultdict(list)
    for sample in samples:
        if sample.score is not None:
            groups[sample.prompt_id].append(sample)
    most = min(map(len, groups.values()), default=0)
    powers = [2**exponent for exponent in range(most.bit_length())]
    return [_at(n, list(groups.values())) for n in powers]


def kl_bound(n: int) -> float:
    """In nats per response."""
    return math.log(n) - (n - 1) / n


def expected_best(values: Sequence[float], scores: Sequence[float], n: int) -> float:
    """E[value of the highest-scoring of n drawn from these m without replacement], ties shared.

    Of the answers in ascending order of score, the i-th is the best of n with probability C(i - 1, n - 1) / C(m, n):
    the unbiased estimate from m answers, of less variance than that of any one draw.
    """
    order = sorted(range(len(scores)), key=scores.__getitem__)
    weights = [math.comb(place, n - 1) / math.comb(len(order), n) for place in range(len(order))]
    by_score: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for index, weight in zip(order, weights, strict=True):
        by_score[scores[index]].append((weight, values[index]))
    return math.fsum(
        math.fsum(weight for weight, _ in tied) * math.fsum(value for _, value in tied) / len(tied)
        for tied in by_score.values()
    )


def _at(n: int, groups: Sequence[Sequence[Sample]]) -> BestOfN:
    return BestOfN(
        n, kl_bound(n), _over_prompts(n, groups, lambda s: s.score), _over_prompts(n, groups, lambda s: s.gold)
    )


def _over_prompts(n: int, groups: Sequence[Sequence[Sample]], read: Reading) -> Estimate | None:
    """Prompts are what is counted; None where one of the answers has no reading."""
    means = []
    for group in groups:
        values, scores = [read(sample) for sample in group], [sample.score for sample in group]
        if any(value is None for value in values):
            return None
        means.append(expected_best([v for v in values if v is not None], [s for s in scores if s is not None], n))
    return mean(means)
