"""The examples' settings and data are read by the programs they are for."""

from pathlib import Path

import pytest

from plaudit.evaluation.accuracy import AccuracySettings
from plaudit.finetune.demonstrations import read_demonstrations
from plaudit.finetune.reward_model import RewardModelSettings
from plaudit.finetune.sft import SFTSettings
from plaudit.preferences.reading import read_preferences
from plaudit.settings import load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "kind", "read", "rows"),
    [
        ("sft/settings.yaml", SFTSettings, read_demonstrations, 24),
        ("smollm2/sft.yaml", SFTSettings, read_demonstrations, 24),
        ("reward_model/settings.yaml", RewardModelSettings, read_preferences, 30),
        ("smollm2/reward_model_hh.yaml", RewardModelSettings, None, None),
        ("eval/settings.yaml", AccuracySettings, read_preferences, 8),
    ],
)
def test_an_example_is_read(monkeypatch, name, kind, read, rows):
    monkeypatch.chdir(ROOT)
    settings = load(kind, ROOT / "examples" / name)
    if read is not None:
        assert len(read(settings.data)) == rows
