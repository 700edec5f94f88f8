"""One step of a run, its roles replaced: what is counted."""

from collections import Counter, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from plaudit.errors import RunFailed
from plaudit.rollout.pool import PoolCounts
from plaudit.trainer import checkpoint
from plaudit.trainer.checkpoint import RunState
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
