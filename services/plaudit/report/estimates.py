"""Means with standard errors over held-out prompts, and paired gains between two sampled steps."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plaudit.report.run_folder import Run, Sample, finite
from plaudit.uncertainty import Estimate, mean, paired_difference

Reading = Callable[[Sample], float | None]


@dataclass(frozen=True)
class HeldOut:
    """What the held-out prompts say of the policy after `step` updates."""

    step: int
    score: Estimate | None
    gold: Estimate | None
    kl: Estimate | None
    score_gain: Estimate | None  # paired by prompt against the first sampled step
    gold_gain: Estimate | None
    distinct_ratio: float  # distinct responses / responses
    responses: int


@dataclass(frozen=True)
class Change:
    """One measure before and after the run."""

    before: Estimate | None
    after: Estimate | None
    gain: Estimate | None


def held_out(run: Run) -> list[HeldOut]:
    """One entry per sampled step."""
    first = next(iter(run.samples.values()), [])
    return [_held_out(step, samples, first) for step, samples in run.samples.items()]


def change(run: Run, rows: Sequence[HeldOut], name: str) -> Change | None:
    """`name` is "score" or "gold". A summary's own figures (more prompts) go before those of the samples."""
    stated = run.summary.get("proxy" if name == "score" else name)
    if isinstance(stated, dict) and finite(stated.get("after")) is not None:
        return Change(
            _stated(stated, "before", "before_se"),
            _stated(stated, "after", "after_se"),
            _stated(stated, "paired_gain", "paired_se"),
        )
    known = [row for row in rows if getattr(row, name) is not None]
    if not known:
        return None
    gain = getattr(known[-1], f"{name}_gain") if len(known) > 1 else None
    return Change(getattr(known[0], name), getattr(known[-1], name), gain)


def by_prompt(samples: Sequence[Sample], read: Reading) -> dict[str, float]:
    """Mean per prompt: responses to one prompt are not independent, so prompts are what is counted."""
    groups = defaultdict(list)
    for sample in samples:
        value = read(sample)
        if value is not None:
            groups[sample.prompt_id].append(value)
    return {prompt: math.fsum(values) / len(values) for prompt, values in groups.items()}


def paired_gain(before: Sequence[Sample], after: Sequence[Sample], read: Reading) -> Estimate | None:
    """Mean difference over the prompts that both have."""
    old, new = by_prompt(before, read), by_prompt(after, read)
    both = [prompt for prompt in new if prompt in old]
    return paired_difference([new[one] for one in both], [old[one] for one in both]) if both else None


def over_prompts(samples: Sequence[Sample], read: Reading) -> Estimate | None:
    """The mean over those prompts that have a reading."""
    means = by_prompt(samples, read)
    return mean(list(means.values())) if means else None


def _held_out(step: int, samples: Sequence[Sample], first: Sequence[Sample]) -> HeldOut:
    return HeldOut(
        step=step,
        score=over_prompts(samples, lambda s: s.score),
        gold=over_prompts(samples, lambda s: s.gold),
        kl=over_prompts(samples, lambda s: s.kl),
        score_gain=paired_gain(first, samples, lambda s: s.score),
        gold_gain=paired_gain(first, samples, lambda s: s.gold),
        distinct_ratio=len({s.response for s in samples}) / len(samples),
        responses=len(samples),
    )


def _stated(tree: dict[str, Any], value: str, error: str) -> Estimate | None:
    number = finite(tree.get(value))
    return None if number is None else Estimate(number, finite(tree.get(error)))
