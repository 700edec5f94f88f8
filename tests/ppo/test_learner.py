"""What every `Learner` does: the local one, and two ranks of it joined by gloo, equal or sharded."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from policy.tiny import tiny_llama
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from plaudit.errors import ConfigurationError
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.policy.weights import load_into, unpack
from plaudit.ppo.learner import Learner
from plaudit.ppo.settings import Sharding
from plaudit.rollout.cluster import start_ray
from plaudit.trainer.ranks import DataParallelLearner

from . import reference
from .checks import parameters
from .learners import LIVELY, LORA, TEMPERATURE, learn, local, put_state, state_of, targets_of
from .ragged import ragged_batch, real_tokens

Make = Callable[..., Learner]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module", params=["local", "replicate", "full"], ids=["local", "two ranks", "two sharded ranks"])
def make(request: pytest.FixtureRequest, folder: Path) -> Iterator[Make]:
    """Learners by their settings: made once, and brought back to their first state each time they are asked for."""
    made: dict[str, tuple[Learner, dict[str, np.ndarray]]] = {}
    connection = start_ray(None, num_cpus=6) if request.param != "local" else None

    def build(lora: LoraSettings | None = None, reference: PolicySettings | None = None) -> Learner:
        if (key := f"{lora} {reference}") not in made:
            policy = PolicySettings(model=str(folder), lora=lora)
            if connection is None:
                learner: Learner = local(folder, lora=lora, reference=reference)
            else:
                learner = _two(policy, request.param, reference)
            made[key] = (learner, state_of(learner))
        learner, start = made[key]
        put_state(learner, start)
        return learner

    yield build
    for learner, _ in made.values():
        learner.close()
    if connection is not None:
        connection.close()
        assert not ray.is_initialized()


def _two(policy: PolicySettings, sharding: Sharding, reference: PolicySettings | None) -> Learner:
    return DataParallelLearner(
        policy, LIVELY, TEMPERATURE, 5, 2, sharding, reference=reference, call_timeout_seconds=60
    )


def test_kl_is_from_the_reference_that_is_given_and_it_never_learns(make: Make, tmp_path: Path):
    check_reference(lambda other: make(reference=other), tmp_path)


def test_an_adapters_reference_may_be_another_model_than_its_base(folder: Path, tmp_path: Path):
    check_reference(lambda other: local(folder, lora=LORA, reference=other), tmp_path)


def check_reference(made: Callable[[PolicySettings], Learner], tmp_path: Path) -> None:
    other, batch = tiny_llama(tmp_path / "other", seed=1), ragged_batch(0)
    expected, learner = local(other).evaluate(batch).logprobs, made(PolicySettings(model=str(other)))
    first = learner.evaluate(batch)
    np.testing.assert_allclose(first.reference_logprobs, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(first.logprobs - first.reference_logprobs).max() > 0.1
    learn(learner, [batch])
    after = learner.evaluate(batch)
    np.testing.assert_array_equal(after.reference_logprobs, first.reference_logprobs)
    assert np.abs(after.logprobs - first.logprobs).max() > 1e-3


def test_a_reference_that_reads_other_tokens_is_refused(folder: Path, tmp_path: Path):
    other = PolicySettings(model=str(tiny_llama(tmp_path / "other", vocab=80)))
    with pytest.raises(ConfigurationError, match=r"other' reads other tokens than the policy"):
        local(folder, reference=other)


def test_any_learner_computes_what_a_local_one_computes(make: Make, folder: Path):
    """Rule 12: evaluations, statistics and three updates' weights, 1e-5 relative; odd rows, so ranks are unequal."""
    batches = [ragged_batch(seed, rows=7) for seed in range(3)]
    ours, theirs = make(), local(folder)
    start = parameters(theirs)
    ours_said, theirs_said = learn(ours, batches), learn(theirs, batches)
    for a, b in zip(ours_said, theirs_said, strict=True):
        assert a == {name: pytest.approx(value, rel=1e-4, abs=1e-6) for name, value in b.items()}
    difference = np.linalg.norm(parameters(ours) - parameters(theirs)) / np.linalg.norm(parameters(theirs) - start)
    assert difference < 1e-5
    for name in ("logprobs", "reference_logprobs", "values"):
        a, b = (getattr(learner.evaluate(batches[0]), name) for learner in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_updates_are_repeatable_bit_for_bit(make: Make):
    runs = [parameters(_after(make(), 2)) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


def _after(learner: Learner, updates: int) -> Learner:
    learn(learner, [ragged_batch(seed) for seed in range(updates)])
    return learner


def test_a_restored_learner_goes_on_bit_for_bit(make: Make):
    """Weights, Adam's moments and step counts are all there is: nothing else carries over from step to step."""
    learner, batch = _after(make(), 2), ragged_batch(9)
    state = state_of(learner)
    targets = targets_of(learner, batch)
    first = learner.update(batch, targets, step=2), state_of(learner)
    put_state(learner, state)
    second = learner.update(batch, targets, step=2), state_of(learner)
    assert first[0] == second[0]
    for name, array in first[1].items():
        np.testing.assert_array_equal(array, second[1][name])


def test_a_restored_learner_keeps_its_first_reference(make: Make):
    """Rule 20: the reference is what the run began with, also after a resume."""
    batch = ragged_batch()
    learner = make()
    before = learner.evaluate(batch).reference_logprobs
    moved = state_of(_after(learner, 2))
    restored = make()
    put_state(restored, moved)
    evaluation = restored.evaluate(batch)
    np.testing.assert_array_equal(evaluation.reference_logprobs, before)
    assert np.abs(evaluation.logprobs - before).max() > 1e-2


@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["all weights", "LoRA"])
def test_whatever_is_trained_a_fresh_process_goes_on_with_it(folder: Path, lora: LoraSettings | None, critic: str):
    """Rule 20 with LoRA too: the reference is the model with its adapter off, not what the adapter has become."""
    ppo = dataclasses.replace(LIVELY, critic=critic, critic_learning_rate=1e-2)
    batch = ragged_batch(9)
    learner = _after(local(folder, ppo, lora), 2)
    fresh = local(folder, ppo, lora)
    put_state(fresh, state_of(learner))
    for one, other in zip(
        dataclasses.astuple(learner.evaluate(batch)), dataclasses.astuple(fresh.evaluate(batch)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert np.abs(fresh.evaluate(batch).logprobs - fresh.evaluate(batch).reference_logprobs).max() > 1e-2
    assert learner.update(batch, targets_of(learner, batch), 2) == fresh.update(batch, targets_of(fresh, batch), 2)
    ours, theirs = state_of(learner), state_of(fresh)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())


def test_a_checkpoint_of_another_model_is_refused(make: Make):
    learner = make()
    state = state_of(learner)
    digest = np.zeros(32, dtype=np.uint8)
    with pytest.raises(ConfigurationError, match="another reference"):
        put_state(learner, state | {"reference_sha256": digest})
    with pytest.raises(ConfigurationError, match="another model"):
        put_state(learner, {name: x for name, x in state.items() if name != "model.value_head.bias"})
    with pytest.raises(ConfigurationError, match=r"\(3,\)"):
        put_state(learner, state | {"model.value_head.bias": np.zeros(3, dtype=np.float32)})


def test_learning_rate_zero_changes_nothing(make: Make):
    """Negative control: ratio 1, KL 0."""
    learner, batch = make(), ragged_batch()
    statistics = learner.update(batch, targets_of(learner, batch), step=0, learning_rate_scale=0.0)
    assert statistics["learning_rate"] == 0
    assert statistics["ratio_error"] < 2e-6
    assert statistics["approx_kl"] < 1e-6
    evaluation = learner.evaluate(batch)
    np.testing.assert_array_equal(evaluation.logprobs, evaluation.reference_logprobs)


def test_a_gradient_that_is_not_finite_is_not_applied(make: Make):
    learner, batch = make(), ragged_batch()
    before = state_of(learner)
    targets = targets_of(learner, batch)
    broken = dataclasses.replace(targets, advantages=np.where(batch.response_mask, np.float32(np.nan), 0))
    statistics = learner.update(batch, broken, step=0)
    assert statistics["nonfinite_updates"] == LIVELY.epochs * LIVELY.minibatches
    assert not math.isfinite(statistics["grad_norm"])
    after = state_of(learner)
    for name, array in before.items():
        if name != "nonfinite_updates":
            np.testing.assert_array_equal(array, after[name])
    assert math.isfinite(learner.update(batch, targets, step=1)["grad_norm"])


def test_statistics_weigh_every_real_token_alike(make: Make):
    """Rules 12, 18: while the weights stand still, the statistics are means over the tokens of the evaluation."""
    learner, batch = make(), ragged_batch()
    targets = targets_of(learner, batch)
    statistics = learner.update(batch, targets, step=0, learning_rate_scale=0.0)
    mask = batch.response_mask
    assert statistics["policy_loss"] == pytest.approx(-targets.advantages[mask].mean(), abs=1e-5)
    value_loss = (0.5 * (targets.old_values - targets.returns) ** 2)[mask].mean()
    assert statistics["value_loss"] == pytest.approx(value_loss, rel=1e-4)
    assert statistics["first_ratio_error"] < 2e-6


def test_weights_are_the_policys_alone(make: Make, folder: Path):
    """What workers load: the causal LM's parameters, no critic; and they are those after the update."""
    learner, batch = _after(make(), 2), ragged_batch()
    worker = AutoModelForCausalLM.from_pretrained(folder).eval()
    load_into(worker, learner.weights())
    logprobs = learner.evaluate(batch).logprobs
    for row, mask in enumerate(batch.response_mask):
        expected, _ = reference.response_logprobs(worker, *real_tokens(batch, row), TEMPERATURE)
        np.testing.assert_allclose(logprobs[row][mask], expected, atol=1e-4)


def test_with_lora_the_weights_are_the_adapters(make: Make):
    learner = _after(make(lora=LORA), 1)
    names = unpack(learner.weights())
    assert names
    assert all("lora_" in name for name in names)


@pytest.mark.parametrize("lora", [None, LORA])
def test_a_saved_policy_loads_anywhere(make: Make, tmp_path: Path, lora: LoraSettings | None):
    learner, batch = _after(make(lora=lora), 2), ragged_batch()
    learner.save(tmp_path / "policy")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "policy").eval()
    assert AutoTokenizer.from_pretrained(tmp_path / "policy").eos_token == "</s>"
    logprobs = learner.evaluate(batch).logprobs
    for row, mask in enumerate(batch.response_mask):
        expected, _ = reference.response_logprobs(saved, *real_tokens(batch, row), TEMPERATURE)
        np.testing.assert_allclose(logprobs[row][mask], expected, atol=2e-4)
    assert set(load_file(tmp_path / "policy" / "critic.safetensors")) == {"value_head.weight", "value_head.bias"}
