from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.ppo.settings import KLSettings, PPOSettings
from plaudit.settings import load, to_yaml


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("clip_range=0", "clip_range"),
        ("epochs=0", "epochs"),
        ("gae_lambda=1.5", "gae_lambda"),
        ("learning_rate=-1", "learning_rate"),
        ("adam_betas=[1, 0.9]", "adam_betas"),
        ("kl.target_kl_nats_per_response=0", "target_kl_nats_per_response"),
        ("kl.horizon_episodes=-5", "horizon_episodes"),
        ("kl.target=6", "target"),
        ("kl.controller=clever", "controller"),
        ("critic=none", "critic"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, override: str, names: str):
    """Rule 9 too: target and horizon have to be above 0, and their names say the unit."""
    file = tmp_path / "ppo.yaml"
    file.write_text("{}")
    with pytest.raises(ConfigurationError, match=names):
        load(PPOSettings, file, [override])


def test_an_adaptive_controller_has_to_start_above_zero():
    with pytest.raises(ValueError, match="start above 0"):
        KLSettings(controller="adaptive", coef=0)


def test_settings_survive_their_own_yaml(tmp_path: Path):
    settings = PPOSettings(learning_rate=3e-4, kl=KLSettings(controller="adaptive", coef=0.3), adam_betas=(0.8, 0.9))
    file = tmp_path / "ppo.yaml"
    file.write_text(to_yaml(settings))
    assert load(PPOSettings, file) == settings


def test_the_learning_rate_ends_at_zero_or_stays():
    linear = PPOSettings(learning_rate_schedule="linear")
    assert [linear.learning_rate_scale(step, 4) for step in (0, 1, 3, 4, 5)] == [1, 0.75, 0.25, 0, 0]
    assert PPOSettings().learning_rate_scale(3, 4) == 1
