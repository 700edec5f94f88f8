"""Checkpoints: whole or not there, the newest kept, a damaged one named."""

import errno
import shutil
from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.policy.settings import PolicySettings
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import PPOSettings
from plaudit.trainer import checkpoint
from plaudit.trainer.checkpoint import CheckpointFailed, RunState
from tests.policy.tiny import tiny_llama

BEST = "reward_mean"


@pytest.fixture
def learner(tmp_path: Path) -> LocalLearner:
    return LocalLearner(PolicySettings(model=str(tiny_llama(tmp_path / "policy"))), PPOSettings(), 1.0, 0)


def state(step: int, merit: float | None = None) -> RunState:
    models = {"reward": {"name": "models/m/versions/1", "sha256": "ab"}}
    return RunState(
        step,
        {"coef": 0.1},
        {"count": 3.0},
        models,
        {"prompts.data": "cd"},
        ["0/0/0"],
        merit={} if merit is None else {BEST: merit},
    )


def test_what_is_saved_comes_back_and_old_ones_go(tmp_path: Path, learner: LocalLearner) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        checkpoint.save(folder, state(step), learner, keep=2, best_by=BEST)
    assert [path.name for path in checkpoint.existing(folder)] == ["step-00002", "step-00003"]
    assert checkpoint.load(folder / "step-00003", learner) == state(3)


def test_one_that_cannot_be_removed_is_no_failure_of_the_next(
    tmp_path: Path, learner: LocalLearner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stays(path: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    checkpoint.save(tmp_path, state(1), learner, keep=1, best_by=None)
    monkeypatch.setattr(checkpoint, "_remove", stays)
    assert checkpoint.save(tmp_path, state(2), learner, keep=1, best_by=None) == tmp_path / "step-00002"
    assert "step-00001 could not be removed (Operation not permitted)" in caplog.text


def test_one_that_cannot_be_written_leaves_those_before(tmp_path: Path, learner: LocalLearner) -> None:
    before = checkpoint.save(tmp_path, state(1), learner, keep=1, best_by=None)
    (tmp_path / ".step-00002.partial").write_text("in the way")
    with pytest.raises(CheckpointFailed, match="step-00002 could not be written"):
        checkpoint.save(tmp_path, state(2), learner, keep=1, best_by=None)
    assert checkpoint.existing(tmp_path) == [before]
    assert checkpoint.of_step(tmp_path, 1) == before
    assert checkpoint.of_step(tmp_path, 2) is None


def test_the_newest_is_the_one_of_most_steps(tmp_path: Path, learner: LocalLearner) -> None:
    for step in (100_000, 99_999):
        checkpoint.save(tmp_path, state(step), learner, keep=2, best_by=BEST)
    assert [path.name for path in checkpoint.existing(tmp_path)] == ["step-99999", "step-100000"]


def test_a_write_that_was_cut_short_does_not_count(tmp_path: Path, learner: LocalLearner) -> None:
    folder = tmp_path / "checkpoints"
    saved = checkpoint.save(folder, state(1), learner, keep=2, best_by=BEST)
    saved.rename(folder / ".step-00001.partial")
    assert checkpoint.existing(folder) == []
    assert checkpoint.save(folder, state(1), learner, keep=2, best_by=BEST).is_dir()
    assert not (folder / ".step-00001.partial").exists()


def test_the_best_is_kept_beside_the_newest(tmp_path: Path, learner: LocalLearner) -> None:
    for step, merit in enumerate([None, 0.5, 2.0, 2.0, 1.0, -1.0]):
        checkpoint.save(tmp_path, state(step, merit), learner, keep=2, best_by=BEST)
    assert [path.name for path in checkpoint.existing(tmp_path)] == ["step-00002", "step-00004", "step-00005"]
    assert checkpoint.best(tmp_path, BEST) == tmp_path / "step-00002"


FILES = ["state.json", "learner.safetensors", "model.safetensors", "tokenizer.json", "digests.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["cut", "one bit", "gone"])
def test_a_damaged_one_is_set_aside_and_the_one_before_is_taken(
    tmp_path: Path, learner: LocalLearner, file: str, damage: str
) -> None:
    before, after = (checkpoint.save(tmp_path, state(step), learner, keep=2, best_by=BEST) for step in (1, 2))
    assert checkpoint.newest(tmp_path) == (after, [])
    path = after / file
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes(content[:20] if damage == "cut" else flipped)
    found, damaged = checkpoint.newest(tmp_path)
    assert found == before
    if (file, damage) != ("state.json", "gone"):  # without it, it is no checkpoint at all
        assert damaged == [tmp_path / "damaged-step-00002"]
    assert checkpoint.existing(tmp_path) == [before]


def test_where_all_are_damaged_there_is_none(tmp_path: Path, learner: LocalLearner) -> None:
    (checkpoint.save(tmp_path, state(1), learner, keep=2, best_by=BEST) / "model.safetensors").unlink()
    assert checkpoint.newest(tmp_path)[0] is None


def test_one_of_another_version_is_named(tmp_path: Path, learner: LocalLearner) -> None:
    saved = checkpoint.save(tmp_path, state(1), learner, keep=2, best_by=BEST)
    (saved / "state.json").write_text('{"step": 1}')
    with pytest.raises(ConfigurationError, match=r"step-00001 is not of this version"):
        checkpoint.load(saved, learner)


def test_the_best_by_another_metric_is_another_one(tmp_path: Path, learner: LocalLearner) -> None:
    for step, merit in enumerate([5.0, 1.0]):
        checkpoint.save(tmp_path, state(step, merit), learner, keep=2, best_by=BEST)
    assert checkpoint.best(tmp_path, "score_mean") is None
    checkpoint.save(tmp_path, state(2), learner, keep=1, best_by=None)
    assert [path.name for path in checkpoint.existing(tmp_path)] == ["step-00002"]


def test_what_people_put_beside_checkpoints_does_no_harm(tmp_path: Path, learner: LocalLearner) -> None:
    saved = checkpoint.save(tmp_path, state(1), learner, keep=2, best_by=BEST)
    (saved / "notes.txt").write_text("a good one")
    shutil.copytree(saved, tmp_path / "step-00001.bak")
    assert checkpoint.newest(tmp_path) == (saved, [])


def test_what_killed_processes_left_is_removed(tmp_path: Path, learner: LocalLearner) -> None:
    saved = checkpoint.save(tmp_path, state(1), learner, keep=2, best_by=BEST)
    for name in (".step-00009.partial", ".step-00000.old"):
        shutil.copytree(saved, tmp_path / name)
    checkpoint.newest(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_no_checkpoint_any_more_is_written_anew(tmp_path: Path, learner: LocalLearner) -> None:
    saved = checkpoint.save(tmp_path, state(1), learner, keep=2, best_by=BEST)
    (saved / "state.json").unlink()
    checkpoint.save(tmp_path, state(1), learner, keep=2, best_by=BEST)
    assert checkpoint.newest(tmp_path) == (saved, [])


@pytest.mark.parametrize("content", ["null", "[]", "3"])
def test_digests_that_are_none_prove_nothing(tmp_path: Path, learner: LocalLearner, content: str) -> None:
    saved = checkpoint.save(tmp_path, state(1), learner, keep=2, best_by=BEST)
    (saved / "digests.json").write_text(content)
    assert not checkpoint.is_whole(saved)
