"""Rule 25: float32 master weights, whatever the computation's type."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from policy.tiny import tiny_llama

from plaudit.policy.settings import PolicySettings
from plaudit.ppo.learner import LocalLearner

from .checks import parameters
from .learners import LIVELY, TEMPERATURE, learn, local, state_of
from .ragged import ragged_batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def test_steps_too_small_for_bfloat16_still_add_up(folder: Path):
    """Ten updates at 1e-6, where weights of size 1 next differ by 4e-3 in bfloat16: nearly every weight has moved."""
    ppo = dataclasses.replace(LIVELY, learning_rate=1e-6, adam_eps=1e-8)
    learner = LocalLearner(PolicySettings(model=str(folder), dtype="bfloat16"), ppo, TEMPERATURE, seed=5)
    used = np.unique(ragged_batch().input_ids)  # rows of the embedding that no token looks up have no gradient
    start = state_of(learner)
    learn(learner, [ragged_batch(seed) for seed in range(10)], ppo)
    for name, array in state_of(learner).items():
        if name.startswith("model."):
            before, after = (x[used] if "embed_tokens" in name else x for x in (start[name], array))
            assert after.dtype == np.float32
            assert (before != after).mean() > 0.9, name


def test_the_statistics_of_bfloat16_are_near_those_of_float32(folder: Path):
    """Coarse arithmetic, the same algorithm."""
    policy = PolicySettings(model=str(folder), dtype="bfloat16")
    coarse, exact = LocalLearner(policy, LIVELY, TEMPERATURE, seed=5), local(folder)
    batch = ragged_batch()
    assert np.abs(coarse.evaluate(batch).logprobs - exact.evaluate(batch).logprobs).max() < 0.5
    [a], [b] = learn(coarse, [batch]), learn(exact, [batch])
    assert a["entropy"] == pytest.approx(b["entropy"], rel=0.05)
    assert a["value_loss"] == pytest.approx(b["value_loss"], rel=0.2)


def test_a_state_survives_safetensors(folder: Path, tmp_path: Path):
    learner = local(folder)
    learn(learner, [ragged_batch()])
    learner.save_state(tmp_path / "learner.safetensors")
    restored = local(folder)
    restored.load_state(tmp_path / "learner.safetensors")
    np.testing.assert_array_equal(parameters(restored), parameters(learner))
    for name, array in state_of(learner).items():
        np.testing.assert_array_equal(state_of(restored)[name], array)
