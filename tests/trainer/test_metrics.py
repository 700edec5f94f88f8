"""What /metrics shows of one step, and of a pool between two."""

import math
from collections import Counter, defaultdict
from pathlib import Path

from plaudit.rollout.pool import PoolCounts
from plaudit.trainer.control import RunEnded
from plaudit.trainer.metrics import TrainerMetrics


def test_each_reward_service_has_its_gauge() -> None:
    metrics = TrainerMetrics(PoolCounts, kl_target=6.0)
    step = defaultdict(float, score_mean=1.0, score_helpful_mean=0.5, disagreement_helpful_mean=0.1, seconds_score=2.0)
    metrics.observe(0, step)
    value = metrics.registry.get_sample_value
    assert value("plaudit_ppo_score_mean") == 1.0
    assert value("plaudit_reward_client_score", {"service": "helpful"}) == 0.5
    assert value("plaudit_reward_client_disagreement", {"service": "helpful"}) == 0.1
    assert value("plaudit_trainer_phase_duration_seconds_sum", {"phase": "score"}) == 2.0


def test_the_whole_step_is_no_phase() -> None:
    metrics = TrainerMetrics(PoolCounts, kl_target=6.0)
    metrics.observe(0, defaultdict(float, seconds_update=2.0, seconds_step=3.0))
    value = metrics.registry.get_sample_value
    assert value("plaudit_trainer_step_duration_seconds_sum") == 3.0
    assert value("plaudit_trainer_phase_duration_seconds_sum", {"phase": "update"}) == 2.0
    assert value("plaudit_trainer_phase_duration_seconds_sum", {"phase": "step"}) is None


def test_what_is_not_measured_is_no_zero() -> None:
    metrics = TrainerMetrics(PoolCounts, kl_target=0.5)
    value = metrics.registry.get_sample_value
    assert math.isnan(value("plaudit_ppo_entropy"))
    assert math.isnan(value("plaudit_rollout_policy_version")), "no worker is up"
    assert value("plaudit_ppo_kl_target") == 0.5
    metrics.observe(0, defaultdict(float, entropy=2.0))
    assert value("plaudit_ppo_entropy") == 2.0


def test_the_pool_is_seen_while_a_step_does_not_end() -> None:
    """And when there is none any more, as it was last."""
    now: list[PoolCounts] = []

    def pool() -> PoolCounts:
        if not now:
            raise RunEnded("the run is done")
        return now[0]

    metrics = TrainerMetrics(pool, kl_target=6.0)
    value = metrics.registry.get_sample_value
    assert value("plaudit_rollout_worker_restarts_total") == 0
    now.append(PoolCounts(workers=Counter(idle=2), oldest_version=3, restarts=1))
    assert value("plaudit_rollout_policy_version") == 3
    now[0] = PoolCounts(workers=Counter(lost=2), restarts=4)
    assert value("plaudit_rollout_worker_restarts_total") == 4
    assert value("plaudit_rollout_workers", {"state": "lost"}) == 2
    now.clear()
    assert value("plaudit_rollout_worker_restarts_total") == 4


def test_skipped_updates_of_an_earlier_process_are_not_counted_again() -> None:
    metrics = TrainerMetrics(PoolCounts, kl_target=6.0)
    metrics.resumed(7, {"nonfinite_updates": 2.0})
    value = metrics.registry.get_sample_value
    assert value("plaudit_trainer_step") == 7
    metrics.observe(7, defaultdict(float, nonfinite_updates=3.0))
    assert value("plaudit_trainer_nonfinite_updates_total") == 1


def test_a_checkpoint_has_a_size(tmp_path: Path) -> None:
    metrics = TrainerMetrics(PoolCounts, kl_target=6.0)
    (tmp_path / "adapter").mkdir()
    for name, size in (("state.json", 10), ("adapter/model.safetensors", 300)):
        (tmp_path / name).write_bytes(bytes(size))
    metrics.checkpoints.written(tmp_path)
    assert metrics.registry.get_sample_value("plaudit_checkpoint_bytes") == 310
