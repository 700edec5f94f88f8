"""What can be chosen beside PPO with GAE and k1 in the reward."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from policy.tiny import tiny_llama
from transformers import AutoModelForCausalLM

from plaudit.errors import ConfigurationError
from plaudit.policy.settings import LoraSettings
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import KLSettings, PPOSettings
from plaudit.ppo.targets import make_targets
from plaudit.settings import parse

from .checks import parameters
from .enumerable import World, ppo_step, settings, tiny_world
from .enumerable import learner as world_learner
from .learners import FULL_KL, LIVELY, LORA, TEMPERATURE, learn, local, state_of, targets_of
from .ragged import ragged_batch, real_tokens
from .test_closed_form import assert_optimal, both, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), tiny_llama(tmp_path_factory.mktemp("tokenizer")))


@pytest.mark.parametrize("lora", [None, LORA])
def test_the_full_kl_is_the_sum_over_the_vocabulary(folder: Path, lora: LoraSettings | None, tmp_path: Path):
    learner, batch = local(folder, FULL_KL, lora), ragged_batch()
    assert np.abs(learner.evaluate(batch).full_kl).max() < 1e-6
    learn(learner, [batch], FULL_KL)
    learner.save(tmp_path)
    ours, theirs = (AutoModelForCausalLM.from_pretrained(path).eval() for path in (tmp_path, folder))
    found = learner.evaluate(batch).full_kl
    assert found.max() > 1e-2
    for row, mask in enumerate(batch.response_mask):
        prompt, response = real_tokens(batch, row)
        with torch.no_grad():
            p, q = (
                (model(torch.tensor([prompt + response])).logits[0].double() / TEMPERATURE).log_softmax(-1)
                for model in (ours, theirs)
            )
        expected = (p.exp() * (p - q)).sum(-1)[len(prompt) - 1 : -1]
        np.testing.assert_allclose(found[row][mask], expected, atol=2e-5)
        assert not found[row][~mask].any()


def test_it_is_computed_only_where_it_is_asked_for(folder: Path):
    learner, batch = local(folder), ragged_batch()
    learn(learner, [batch])
    assert not learner.evaluate(batch).full_kl.any()


@pytest.mark.parametrize("estimator", ["k1", "abs", "mse", "full"])
def test_the_penalty_of_a_response_is_the_estimate_that_was_asked_for(folder: Path, estimator: str):
    ppo = dataclasses.replace(LIVELY, kl=KLSettings(estimator=estimator))
    learner, batch = local(folder, ppo), ragged_batch()
    learn(learner, [batch], ppo)
    evaluation = learner.evaluate(batch)
    log_ratio = (evaluation.logprobs - evaluation.reference_logprobs).astype(np.float64)
    by_hand = {"k1": log_ratio, "abs": np.abs(log_ratio), "mse": log_ratio**2 / 2, "full": evaluation.full_kl}
    _, statistics = make_targets(batch, evaluation, 0.5, ppo)
    expected = (batch.scores - 0.5 * by_hand[estimator].sum(axis=1)).mean()
    assert statistics["reward_mean"] == pytest.approx(expected, rel=1e-5)
    assert statistics["kl"] == pytest.approx(log_ratio.sum(axis=1).mean(), rel=1e-5)  # k1, whatever the penalty


@pytest.mark.parametrize(
    "changes",
    [
        {"advantages": "rloo", "critic": "shared"},
        {"kl": KLSettings(coef=0.5, placement="loss"), "epochs": 1},
        {"advantages": "rloo", "critic": "shared", "kl": KLSettings(coef=0.5, placement="loss"), "epochs": 1},
    ],
    ids=["rloo", "KL in the loss", "both"],
)
def test_they_find_the_same_optimum(world_folder: Path, changes: dict):
    """A leave-one-out baseline is as unbiased as a critic's; k2 as a loss has the KL's gradient on-policy."""
    world = World.of(horizon=1)
    policy, reference = trained(world_folder, world, settings(0.5, 3e-3, **changes), 90)
    assert_optimal(world, policy, reference, 0.5)


def test_grpo_raises_the_reward_and_learns_nothing_from_constant_ones(world_folder: Path):
    """Advantages are over their group's deviation, so its optimum is another one; the direction is the same."""
    ppo = PPOSettings(learning_rate=1e-3, advantages="grpo")
    gains = []
    for constant in (False, True):
        world = World.of(horizon=1)
        if constant:
            world.batch.scores[:] = 1.0
        policy, reference = trained(world_folder, world, ppo, 20)
        shown = World.of(horizon=1).rewards
        gains.append(float(((np.exp(policy) - np.exp(reference)) * shown).sum(axis=1).mean()))
    assert gains[0] > 0.5
    assert abs(gains[1]) < 0.02


@pytest.mark.parametrize("advantages", ["rloo", "grpo"])
def test_without_a_critic_nothing_of_one_moves_or_is_reported(folder: Path, advantages: str):
    ppo = dataclasses.replace(LIVELY, advantages=advantages)
    learner, batch = local(folder, ppo), ragged_batch()
    (statistics,) = learn(learner, [batch], ppo)
    assert not {"value_loss", "value_mean", "explained_variance"} & statistics.keys()
    assert not state_of(learner)["model.value_head.weight"].any()
    assert not targets_of(learner, batch, ppo).returns.any()


def test_every_token_of_a_response_has_its_advantage(folder: Path):
    ppo = dataclasses.replace(LIVELY, advantages="rloo")
    batch = ragged_batch()
    advantages = targets_of(local(folder, ppo), batch, ppo, kl_coef=0.0).advantages
    expected = batch.scores - (batch.scores.sum() - batch.scores) / (len(batch.scores) - 1)  # one group
    for row, mask in enumerate(batch.response_mask):
        np.testing.assert_allclose(advantages[row][mask], expected[row], rtol=1e-5)
        assert not advantages[row][~mask].any()


def test_the_brake_ends_the_epochs_of_a_step(folder: Path):
    """And what was learnt until then stays: the same as with so many epochs."""
    batch = ragged_batch()
    free = dataclasses.replace(LIVELY, epochs=4, minibatches=1)
    braked = dataclasses.replace(free, kl=KLSettings(update_limit_nats_per_token=1e-3))
    ours, theirs = local(folder, braked), local(folder, free)
    (short,), (whole,) = learn(ours, [batch], braked), learn(theirs, [batch], free)
    assert whole["optimizer_steps"] == 4
    steps = int(short["optimizer_steps"])
    assert 1 <= steps < 4
    by_hand = local(folder, dataclasses.replace(free, epochs=steps))
    learn(by_hand, [batch], free)
    np.testing.assert_array_equal(parameters(ours), parameters(by_hand))


def test_an_entropy_bonus_keeps_the_policy_wide(world_folder: Path):
    world = World.of(horizon=1)
    plain, wide = (trained_entropy(world_folder, world, coef) for coef in (0.0, 0.3))
    assert wide > plain + 0.1


def trained_entropy(folder: Path, world: World, entropy_coef: float) -> float:
    ppo = dataclasses.replace(settings(0.1, 2e-3), entropy_coef=entropy_coef)
    pupil: LocalLearner = world_learner(folder, ppo)
    for step in range(30):
        ppo_step(pupil, world, ppo, 0.1, step, 30, 256)
    policy, _ = both(pupil, world)
    return float(-(np.exp(policy) * policy).sum(axis=1).mean())


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"advantages": "grpo", "critic": "separate"}, "has no critic"),
        ({"kl": {"placement": "loss", "estimator": "abs"}}, "always k2"),
        ({"advantages": "grpo", "kl": {"estimator": "full"}}, "always k2"),
        ({"advantages": "rloo", "whiten_rewards": True}, "leave whiten_rewards out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tree: dict, named: str):
    with pytest.raises(ConfigurationError, match=named):
        parse(PPOSettings, tree, "here")
