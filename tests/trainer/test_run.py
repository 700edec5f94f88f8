"""One step of a run, its roles replaced: what is counted."""

from collections import Counter, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from plaudit.errors import RunFailed
from plaudit.rollout.pool import PoolCounts
from plaudit.trainer import checkpoint
from plaudit.trainer import run as runs
from plaudit.trainer.checkpoint import CheckpointFailed, RunState
from plaudit.trainer.control import Control
from plaudit.trainer.loop import TooFarFromReference
from plaudit.trainer.metrics import TrainerMetrics
from plaudit.trainer.roles import Position
from plaudit.trainer.run import Run
from plaudit.trainer.settings import CheckpointSettings, SamplesSettings


def run_of(loop: Mock) -> Run:
    """Draws no samples."""
    loop.rollouts.position = lambda step: Position([], 0)
    return Run(
        settings=SimpleNamespace(
            samples=SamplesSettings(every=1, best_of=0), folder="run",
            checkpoints=CheckpointSettings(keep=1, every=2),
        ),
        loop=loop,
        sampler=Mock(),
        metrics=TrainerMetrics(PoolCounts, kl_target=6.0),
        record=Mock(rows=list),
        pool=SimpleNamespace(counts=PoolCounts(), set_aside=[]),
        scorer=SimpleNamespace(missing=Counter(), retries=0),
        control=Control(Path("run"), 3),
        state=RunState(0, {}, {}, {}, {}),
        prompts={},
        recent=deque(maxlen=2),
    )  # fmt: skip


def test_missing_rewards_are_counted_for_training_prompts_alone() -> None:
    def misses(reason: str) -> dict[str, float]:
        run.scorer.missing[reason] += 1
        run.scorer.missing["INPUT_TOO_LONG"] += 1
        return defaultdict(float, reward_mean=1.0)

    run = run_of(Mock(step=lambda step: misses("TRAINING")))
    run.sampler = Mock(draw=lambda step: misses("HELD_OUT"))
    for _ in range(2):
        run._step(lambda phase: None)
    counted = [
        run.metrics.registry.get_sample_value("plaudit_reward_client_missing_total", {"reason": reason})
        for reason in ("TRAINING", "INPUT_TOO_LONG", "HELD_OUT")
    ]
    assert counted == [2, 2, None]


def test_a_policy_too_far_from_its_reference_ends_the_run_with_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the policy before the step, which was not done."""
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda folder, state, *_: saved.append(state.step) or Path("run/step-1"))
    steps = iter([defaultdict(float, reward_mean=1.0), TooFarFromReference("step 1: KL is 9")])

    def step(number: int) -> dict[str, float]:
        if isinstance(found := next(steps), Exception):
            raise found
        return found

    run = run_of(Mock(step=step))
    run._step(lambda phase: None)
    with pytest.raises(RunFailed, match=r"step 1: KL is 9.* run/step-1"):
        run._step(lambda phase: None)
    assert saved == [1]


def test_a_checkpoints_merit_is_the_mean_over_as_many_steps_as_lie_between_two(monkeypatch) -> None:
    merits = []
    monkeypatch.setattr(checkpoint, "save", lambda folder, state, *_: merits.append(state.merit) or Path("run/step-1"))
    rewards = iter([1.0, 3.0, 8.0])
    run = run_of(Mock(step=lambda step: defaultdict(float, reward_mean=next(rewards))))
    for _ in range(3):
        run._step(lambda phase: None)
        run._save()
    assert merits == [{}, {"reward_mean": 2.0}, {"reward_mean": 5.5}]


def test_a_checkpoint_that_fails_is_tried_again_after_each_step_until_one_is_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full, tried = True, []

    def save(folder: Path, state: RunState, *_: object) -> Path:
        tried.append(state.step)
        if full:
            raise CheckpointFailed("the volume is full")
        return Path("run/step-1")

    monkeypatch.setattr(checkpoint, "save", save)
    run = run_of(Mock(step=lambda step: defaultdict(float, reward_mean=1.0)))

    def step() -> None:
        run._step(lambda phase: None)
        run._save_if_due()

    for _ in range(4):
        step()
    assert tried == [2, 3, 4]
    assert run.metrics.registry.get_sample_value("plaudit_checkpoint_failures_total") == 3
    assert caplog.messages == 3 * ["the volume is full; it is tried again after each step"]
    full = False
    for _ in range(3):
        step()
    assert tried == [2, 3, 4, 5, 6], "then when they are due"
    full = True
    with pytest.raises(CheckpointFailed):
        run._save()  # somebody asked for it
    full = False
    step()
    assert tried == [2, 3, 4, 5, 6, 7, 8]
    full = True
    step()
    step()
    monkeypatch.setattr(runs, "WITHOUT_CHECKPOINT_S", 0.0)
    with pytest.raises(CheckpointFailed):
        step()
    assert tried[7:] == [10, 11]
