"""What /metrics shows of one step."""

from collections import defaultdict

from plaudit.trainer.metrics import TrainerMetrics


def test_each_reward_service_has_its_gauge() -> None:
    metrics = TrainerMetrics()
    step = defaultdict(float, score_mean=1.0, score_helpful_mean=0.5, disagreement_helpful_mean=0.1, seconds_score=2.0)
    metrics.observe(0, step)
    value = metrics.registry.get_sample_value
    assert value("plaudit_ppo_score_mean") == 1.0
    assert value("plaudit_reward_client_score", {"service": "helpful"}) == 0.5
    assert value("plaudit_reward_client_disagreement", {"service": "helpful"}) == 0.1
    assert value("plaudit_trainer_phase_duration_seconds_sum", {"phase": "score"}) == 2.0
