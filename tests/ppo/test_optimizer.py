"""Policy and critic have each their learning rate; Adam's epsilon stands where PyTorch has it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from policy.tiny import tiny_llama

from plaudit.ppo.collective import Single
from plaudit.ppo.optimizer import Optimizer
from plaudit.ppo.settings import PPOSettings

from .learners import LIVELY, learn, local, state_of
from .ragged import ragged_batch


@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize(
    ("rate", "critics", "moved"),
    [(1e-3, None, {"policy", "critic"}), (1e-3, 0.0, {"policy"}), (0.0, 1e-3, {"critic"}), (0.0, None, set())],
)
def test_each_moves_at_its_own_rate(tmp_path: Path, critic: str, rate: float, critics: float | None, moved: set[str]):
    ppo = dataclasses.replace(LIVELY, critic=critic, learning_rate=rate, critic_learning_rate=critics)
    learner = local(tiny_llama(tmp_path), ppo)
    before = {name: array.copy() for name, array in state_of(learner).items() if name.startswith("model.")}
    learn(learner, [ragged_batch(), ragged_batch()], ppo)  # twice: the value head starts at zero, and so does its trunk
    after = state_of(learner)
    found = {
        "policy" if name.startswith("model.causal_lm.") else "critic"
        for name, array in before.items()
        if not np.array_equal(array, after[name])
    }
    assert found == moved


@pytest.mark.parametrize("gradient", [1e-7, 1e-5, 1e-3, 1.0])
def test_the_first_step_is_damped_where_gradients_are_no_larger_than_epsilon(gradient: float):
    """Rule 19: rate * g / (|g| + eps); with 1e-8 a gradient of 1e-7 would move its weight by all of the rate."""
    weight = torch.nn.Parameter(torch.zeros(3))
    ppo = PPOSettings(learning_rate=0.1, max_grad_norm=1e6)
    optimizer = Optimizer({"causal_lm.weight": weight}, ppo, Single())
    optimizer.zero_gradient()
    (weight * gradient).sum().backward()
    optimizer.step(1.0)
    expected = -0.1 * gradient / (gradient + 1e-5)
    np.testing.assert_allclose(weight.detach().numpy(), np.full(3, expected), rtol=1e-4)
