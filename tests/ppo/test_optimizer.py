"""Policy and critic have each their learning rate."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from policy.tiny import tiny_llama

from .learners import LIVELY, learn, local
from .ragged import ragged_batch


@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize(
    ("rate", "critics", "moved"),
    [(1e-3, None, {"policy", "critic"}), (1e-3, 0.0, {"policy"}), (0.0, 1e-3, {"critic"}), (0.0, None, set())],
)
def test_each_moves_at_its_own_rate(tmp_path: Path, critic: str, rate: float, critics: float | None, moved: set[str]):
    ppo = dataclasses.replace(LIVELY, critic=critic, learning_rate=rate, critic_learning_rate=critics)
    learner = local(tiny_llama(tmp_path), ppo)
    before = {name: array.copy() for name, array in learner.state().items() if name.startswith("model.")}
    learn(learner, [ragged_batch(), ragged_batch()], ppo)  # twice: the value head starts at zero, and so does its trunk
    after = learner.state()
    found = {
        "policy" if name.startswith("model.causal_lm.") else "critic"
        for name, array in before.items()
        if not np.array_equal(array, after[name])
    }
    assert found == moved
