"""One step of a run, its roles replaced: what is counted."""

from collections import Counter, defaultdict
from types import SimpleNamespace
from unittest.mock import Mock

from plaudit.rollout.pool import PoolCounts
from plaudit.trainer.checkpoint import RunState
from plaudit.trainer.metrics import TrainerMetrics
from plaudit.trainer.run import Run


def test_missing_rewards_are_counted_for_training_prompts_alone() -> None:
    scorer = SimpleNamespace(missing=Counter(), retries=0)
    metrics = TrainerMetrics()

    def misses(reason: str) -> dict[str, float]:
        scorer.missing[reason] += 1
        scorer.missing["INPUT_TOO_LONG"] += 1
        return defaultdict(float)

    run = Run(
        settings=SimpleNamespace(samples=SimpleNamespace(every=1)),
        loop=Mock(step=lambda step: misses("TRAINING")),
        sampler=Mock(draw=lambda step: misses("HELD_OUT")),
        metrics=metrics,
        record=Mock(),
        pool=SimpleNamespace(counts=PoolCounts()),
        scorer=scorer,
        state=RunState(step=0, kl_controller={}, reward_model="models/m/versions/1"),
    )
    for _ in range(2):
        run._step(Mock())
    counted = [
        metrics.registry.get_sample_value("plaudit_reward_client_missing_total", {"reason": reason})
        for reason in ("TRAINING", "INPUT_TOO_LONG", "HELD_OUT")
    ]
    assert counted == [2, 2, None]
