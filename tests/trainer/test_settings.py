"""Settings of a run that contradict each other."""

from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings

ROOT = Path(__file__).parents[2]


def test_a_horizon_of_fewer_episodes_than_a_batch_is_refused() -> None:
    """It would turn beta negative: the controller's step is a fifth of batch / horizon."""
    adaptive = ["ppo.kl.controller=adaptive", "batch_size=64"]
    train = ROOT / "examples" / "train" / "settings.yaml"
    with pytest.raises(ConfigurationError, match=r"horizon_episodes 10 is in episodes.* 64"):
        load(TrainSettings, train, [*adaptive, "ppo.kl.horizon_episodes=10"])


@pytest.mark.parametrize("advantages", ["rloo", "grpo"])
def test_a_group_of_one_is_refused(advantages: str) -> None:
    """Rule 22: it would be its own baseline, and every advantage 0."""
    train = ROOT / "examples" / "train" / "settings.yaml"
    grouped = [f"ppo.advantages={advantages}", "batch_size=8"]
    with pytest.raises(ConfigurationError, match="samples_per_prompt to 2"):
        load(TrainSettings, train, [*grouped, "samples_per_prompt=1"])
    assert load(TrainSettings, train, [*grouped, "samples_per_prompt=4"]).samples_per_prompt == 4


def test_the_name_of_the_first_reward_is_taken() -> None:
    train = ROOT / "examples" / "train" / "settings.yaml"
    with pytest.raises(ConfigurationError, match="choose another"):
        load(TrainSettings, train, ["more_rewards.reward.weight=1"])
    with pytest.raises(ConfigurationError, match="pattern"):
        load(TrainSettings, train, ["more_rewards.Not-a-metric.weight=1"])
    assert list(load(TrainSettings, train, ["more_rewards.brevity.weight=0.2"]).rewards) == ["reward", "brevity"]


def test_one_rank_has_nobody_to_share_its_weights_with() -> None:
    train = ROOT / "examples" / "train" / "settings.yaml"
    with pytest.raises(ConfigurationError, match=r"sharding full .* ranks to 2"):
        load(TrainSettings, train, ["sharding=full"])
    assert load(TrainSettings, train, ["sharding=full", "ranks=2"]).sharding == "full"
