"""The mistakes: what is wrong, what mends it, and where it shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from plaudit.report.run_folder import Run

Settings = Mapping[str, object]
"""What differs from `train.yaml`."""
GRPO: Settings = {"ppo.advantages": "grpo", "samples_per_prompt": 4}
EAGER: Settings = {"ppo.learning_rate": 1e-3, "ppo.epochs": 4}
STANDARDISED: Settings = {"ppo.scores.normalisation": "standardise"}
BOTH_LENGTHS: Settings = {
    "reward.model": "length", "more_rewards.brevity.model": "brevity", "more_rewards.brevity.weight": 2,
    "ppo.kl.coef": 0.01,
}  # fmt: skip
LARGE: Settings = {"steps": 2, "batch_size": 256, "ppo.minibatches": 1}


@dataclass(frozen=True)
class Case:
    """`metric`, a mean over the last quarter of the steps, is beyond `limit` with the mistake alone."""

    wrong: Settings
    mended: Settings
    metric: str
    limit: float
    above: bool = True  # the mistake's side of the limit

    def shows(self, value: float) -> bool:
        """Whether the value is on the mistake's side."""
        return value > self.limit if self.above else value < self.limit


CASES = {
    "kl-explodes": Case({"ppo.kl.coef": 0, "ppo.learning_rate": 1e-3}, {"ppo.kl.coef": 0.2}, "kl", 10),
    "wrong-scale": Case({"reward.weight": 100}, {"reward.weight": 100, **STANDARDISED}, "kl", 3),
    "reward-hacking": Case({"ppo.kl.coef": 0}, {"ppo.kl.coef": 0.2}, "gold", 2.5, above=False),
    "entropy-collapse": Case(
        {"reward.model": "shortness", **EAGER, "ppo.kl.coef": 0},
        {"reward.model": "shortness", **EAGER, "ppo.kl.coef": 0.5},
        "entropy",
        0.3,
        above=False,
    ),
    "length-drift": Case(
        {"reward.model": "length", "ppo.kl.coef": 0.01}, {**BOTH_LENGTHS, **STANDARDISED}, "response_tokens_mean", 27
    ),
    "reward-offset": Case(BOTH_LENGTHS, {**BOTH_LENGTHS, **STANDARDISED}, "response_tokens_mean", 12, above=False),
    "truncated": Case({"max_new_tokens": 8}, {"max_new_tokens": 48}, "truncated_ratio", 0.5),
    "critic-diverges": Case(
        {"ppo.critic_learning_rate": 0.3}, {"ppo.critic_learning_rate": 1e-3}, "explained_variance", -1, above=False
    ),
    "nothing-learnt": Case({"ppo.learning_rate": 1e-7}, {"ppo.learning_rate": 3e-4}, "kl", 0.05, above=False),
    "no-signal": Case({**GRPO, "reward.model": "rare"}, GRPO, "advantage_std", 0.1, above=False),
    "missing-rewards": Case({"reward.model": "broken", "max_missing_ratio": 0.95}, {}, "missing_rewards", 5),
    "out-of-memory": Case(
        {**LARGE, "ppo.microbatch_tokens": 100_000}, {**LARGE, "ppo.microbatch_tokens": 1024}, "peak_memory_bytes", 1e9
    ),
}


def late_mean(run: Run, metric: str) -> float:
    """Over the last quarter of the steps; of "gold", over the last held-out samples."""
    if metric == "gold":
        known = [sample.gold for sample in run.samples[max(run.samples)] if sample.gold is not None]
        return sum(known) / len(known)
    late = run.steps[-max(1, len(run.steps) // 4) :]
    return sum(row[metric] for row in late) / len(late)
