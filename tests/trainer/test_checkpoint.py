"""Checkpoints: whole or not there, the newest kept, a damaged one named."""

from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.policy.settings import PolicySettings
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import PPOSettings
from plaudit.trainer import checkpoint
from plaudit.trainer.checkpoint import RunState
from tests.policy.tiny import tiny_llama


@pytest.fixture
def learner(tmp_path: Path) -> LocalLearner:
    return LocalLearner(PolicySettings(model=str(tiny_llama(tmp_path / "policy"))), PPOSettings(), 1.0, 0)


def state(step: int) -> RunState:
    return RunState(step, {"coef": 0.1}, {"count": 3.0}, "models/m/versions/1")


def test_what_is_saved_comes_back_and_old_ones_go(tmp_path: Path, learner: LocalLearner) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        checkpoint.save(folder, state(step), learner, keep=2)
    assert [path.name for path in checkpoint.existing(folder)] == ["step-00002", "step-00003"]
    assert checkpoint.load(folder / "step-00003", learner) == state(3)


def test_the_newest_is_the_one_of_most_steps(tmp_path: Path, learner: LocalLearner) -> None:
    for step in (100_000, 99_999):
        checkpoint.save(tmp_path, state(step), learner, keep=2)
    assert [path.name for path in checkpoint.existing(tmp_path)] == ["step-99999", "step-100000"]


def test_a_write_that_was_cut_short_does_not_count(tmp_path: Path, learner: LocalLearner) -> None:
    folder = tmp_path / "checkpoints"
    saved = checkpoint.save(folder, state(1), learner, keep=2)
    saved.rename(folder / ".step-00001.partial")
    assert checkpoint.existing(folder) == []
    assert checkpoint.save(folder, state(1), learner, keep=2).is_dir()
    assert not (folder / ".step-00001.partial").exists()


@pytest.mark.parametrize("file", ["state.json", "learner.safetensors"])
def test_a_damaged_one_is_named(tmp_path: Path, learner: LocalLearner, file: str) -> None:
    saved = checkpoint.save(tmp_path / "checkpoints", state(1), learner, keep=2)
    (saved / file).write_bytes((saved / file).read_bytes()[:20])
    with pytest.raises(ConfigurationError, match="step-00001"):
        checkpoint.load(saved, learner)
