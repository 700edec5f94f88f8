"""PPO in a world that can be enumerated: does it find the optimum, and nothing where there is nothing to find?"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from policy.tiny import tiny_llama

from plaudit.ppo.kl import AdaptiveKL
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import PPOSettings

from .enumerable import Floats, World, learner, ppo_step, settings, tiny_world

SAMPLES = 256  # responses per step


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), tiny_llama(tmp_path_factory.mktemp("tokenizer")))


def trained(folder: Path, world: World, ppo: PPOSettings, steps: int) -> tuple[Floats, Floats]:
    """(X, Y) log-probabilities after training, and the reference's."""
    pupil = learner(folder, ppo)
    for step in range(steps):
        ppo_step(pupil, world, ppo, ppo.kl.coef, step, steps, SAMPLES)
    return both(pupil, world)


def both(pupil: LocalLearner, world: World) -> tuple[Floats, Floats]:
    evaluation = pupil.evaluate(world.batch)
    return world.by_prompt(evaluation.logprobs), world.by_prompt(evaluation.reference_logprobs)


Record = Callable[[str, object], None]  # what a test measured, into the XML of `pytest --junitxml`


def assert_optimal(
    world: World, policy: Floats, reference: Floats, beta: float, record: Record = lambda name, value: None
) -> None:
    """Total variation to pi* at most 0.02 for each prompt; at most 1 % of what there was to gain is missing."""
    optimum = world.optimum(reference, beta)
    variation = np.abs(np.exp(policy) - np.exp(optimum)).sum(axis=1).max() / 2
    best, start = world.objective(optimum, reference, beta), world.objective(reference, reference, beta)
    gap = (best - world.objective(policy, reference, beta)) / (best - start)
    record("total variation", f"{variation:.2g}")
    record("gap", f"{gap:.2g}")
    assert variation < 0.02, f"total variation {variation:.4f}"
    assert gap < 0.01, f"gap {gap:.2%}"


def test_the_world_is_enumerated(folder: Path):
    """Probabilities of all responses add up to 1, and the optimum is above everything else that is tried."""
    world = World.of(horizon=2)
    _, reference = both(learner(folder, settings(0.5, 0.0)), world)
    np.testing.assert_allclose(np.exp(reference).sum(axis=1), 1, atol=1e-5)
    best = world.objective(world.optimum(reference, 0.5), reference, 0.5)
    for beta in (0.3, 0.45, 0.55, 2.0):
        assert world.objective(world.optimum(reference, beta), reference, 0.5) < best


@pytest.mark.parametrize(("horizon", "learning_rate", "steps"), [(1, 3e-3, 60), (2, 2e-3, 200)])
def test_the_closed_form_optimum_is_found(folder: Path, horizon: int, learning_rate: float, steps: int):
    world = World.of(horizon)
    policy, reference = trained(folder, world, settings(0.5, learning_rate), steps)
    assert_optimal(world, policy, reference, 0.5)


@pytest.mark.learning
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize("horizon", [1, 2])
def test_the_closed_form_optimum_is_found_for_every_beta(
    folder: Path, horizon: int, critic: str, beta: float, record_property: Record
):
    world = World.of(horizon)
    policy, reference = trained(folder, world, settings(beta, 2e-3, critic=critic), 300)
    assert_optimal(world, policy, reference, beta, record_property)


def test_constant_rewards_lead_nowhere(folder: Path):
    """Negative control, with PPO's usual settings: nothing to gain, so the policy stays at its reference."""
    world = World.of(2)
    world.batch.scores[:] = 1.0
    policy, reference = trained(folder, world, PPOSettings(learning_rate=1e-3), 30)
    assert world.kl(policy, reference) < 0.02


def test_shuffled_rewards_do_not_raise_the_true_one(folder: Path):
    """Negative control: other responses' rewards teach nothing (five shufflings, which drift either way)."""
    real = true_gain(folder, None)
    shuffled = [true_gain(folder, seed) for seed in range(5)]
    assert real > 0.5
    assert abs(np.mean(shuffled)) < real / 5


def true_gain(folder: Path, shuffling: int | None) -> float:
    """How far 20 steps raise E[r], rewards shuffled anew at each step where `shuffling` is a seed."""
    world, ppo = World.of(1), PPOSettings(learning_rate=1e-3)
    shown = dataclasses.replace(world, batch=dataclasses.replace(world.batch, scores=world.batch.scores.copy()))
    pupil = learner(folder, ppo)
    for step in range(20):
        if shuffling is not None:
            np.random.default_rng([shuffling, step]).shuffle(shown.batch.scores)
        ppo_step(pupil, shown, ppo, ppo.kl.coef, step, 20, SAMPLES)
    policy, reference = both(pupil, world)
    return float(((np.exp(policy) - np.exp(reference)) * world.rewards).sum(axis=1).mean())


@pytest.mark.learning
@pytest.mark.parametrize("start", [0.1, 1.0, 10.0])
def test_the_kl_controller_settles_at_its_target(folder: Path, start: float, record_property: Record):
    """Rule 9: the mean KL of the last 50 steps is within 5 % of the target, from 0.1, 1 and 10 times the right beta."""
    world, target = World.of(2), 0.5
    ppo = dataclasses.replace(settings(1.0, 2e-3), learning_rate_schedule="constant")
    pupil = learner(folder, ppo)
    controller = AdaptiveKL(start * _settled_beta(world, both(pupil, world)[1], target), target, 20 * SAMPLES)
    kls = []
    for step in range(600):
        statistics, _ = ppo_step(pupil, world, ppo, controller.coef, step, 600, SAMPLES)
        controller.update(statistics["kl"], SAMPLES)
        kls.append(statistics["kl"])
    record_property("mean KL of the last 50 steps over the target", round(float(np.mean(kls[-50:]) / target), 4))
    assert np.mean(kls[-50:]) == pytest.approx(target, rel=0.05)


def _settled_beta(world: World, reference: Floats, target: float) -> float:
    """The beta whose optimum has this KL: by bisection, KL falls as beta rises."""
    low, high = 1e-2, 1e2
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if world.kl(world.optimum(reference, middle), reference) > target else (low, middle)
    return low
