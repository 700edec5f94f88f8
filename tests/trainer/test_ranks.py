"""What only several ranks can get wrong; what every learner does is tested in `ppo/test_learner.py`."""

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from policy.tiny import tiny_gpt2, tiny_llama
from ppo.checks import parameters
from ppo.learners import LIVELY, LORA, TEMPERATURE, State, learn, local, put_state, state_of, targets_of
from ppo.ragged import ragged_batch
from ppo.test_texts import texts
from safetensors.numpy import load_file
from torch.distributed.fsdp import FSDPModule

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.ppo.learner import Learner, LocalLearner
from plaudit.ppo.settings import KLSettings, PPOSettings, Sharding
from plaudit.ppo.targets import make_targets
from plaudit.rollout.cluster import start_ray
from plaudit.trainer.ranks import DataParallelLearner

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # ranks can't import a test


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    connection = start_ray(None, num_cpus=4)
    yield
    connection.close()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicySettings:
    return PolicySettings(model=str(tiny_llama(tmp_path_factory.mktemp("llama"))))


def start(
    policy: PolicySettings, ranks: int = 2, sharding: Sharding = "replicate", **deadlines: float
) -> DataParallelLearner:
    return DataParallelLearner(policy, LIVELY, TEMPERATURE, 5, ranks, sharding, **deadlines)


@pytest.fixture(scope="module")
def first_sharded(cluster: None, policy: PolicySettings) -> Iterator[tuple[DataParallelLearner, State]]:
    learner = start(policy, sharding="full")
    yield learner, state_of(learner)
    learner.close()


@pytest.fixture
def sharded(first_sharded: tuple[DataParallelLearner, State]) -> DataParallelLearner:
    """Two sharded ranks, brought back to their first state."""
    learner, state = first_sharded
    put_state(learner, state)
    return learner


def process_of(learner: DataParallelLearner, rank: int) -> int:
    return int(ray.get(learner._ranks[rank].__ray_call__.remote(lambda self: os.getpid())))


def on_ranks(learner: DataParallelLearner, work: Callable[[LocalLearner], Any]) -> list[Any]:
    """What `work` answers in each rank's process."""
    return ray.get([rank.__ray_call__.remote(lambda self: work(self._learner)) for rank in learner._ranks])


@pytest.mark.usefixtures("cluster")
def test_ranks_stay_equal_and_a_dead_one_ends_the_run(policy: PolicySettings):
    learner, batch = start(policy), ragged_batch(rows=7)
    learn(learner, [batch, batch])
    first, second = on_ranks(learner, lambda rank: {name: p.detach().numpy() for name, p in rank._restorable().items()})
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])

    targets = targets_of(learner, batch)
    os.kill(process_of(learner, 1), signal.SIGKILL)
    with pytest.raises(RunFailed, match=r"learner rank \d .*'update'"):
        learner.update(batch, targets, step=2)
    learner.close()
    learner.close()


@pytest.mark.usefixtures("cluster")
def test_a_rank_that_hangs_ends_the_run_at_the_deadline(policy: PolicySettings):
    learner, batch = start(policy, call_timeout_seconds=5), ragged_batch()
    hung = process_of(learner, 1)
    os.kill(hung, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(RunFailed, match="learner rank 1 gave no answer to 'evaluate' within 5 s"):
        learner.evaluate(batch)
    assert time.monotonic() - began < 10
    os.kill(hung, signal.SIGCONT)
    learner.close()


@pytest.mark.usefixtures("cluster")
def test_a_wrong_model_is_the_users_error_on_any_rank(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        start(PolicySettings(model=str(tmp_path / "nowhere")))


@pytest.mark.usefixtures("cluster")
def test_ranks_without_a_place_in_the_cluster_are_not_waited_for_forever(policy: PolicySettings):
    with pytest.raises(RunFailed, match="within 8 s"):
        start(policy, ranks=2, cpus_per_rank=1000, start_timeout_seconds=8)


GRPO = {"advantages": "grpo", "kl": KLSettings(coef=0.3, update_limit_nats_per_token=0.02)}
CRITIC = {"kl": KLSettings(estimator="full"), "critic": "separate", "critic_warmup_steps": 1}
HEAD = LoraSettings(rank=4, alpha=8.0, target_modules="lm_head|.*q_proj")


def two_steps(learner: Learner, ppo: PPOSettings) -> list[dict[str, float]]:
    """Statistics of two updates on seven ragged rows, with texts beside them."""
    batch, told = ragged_batch(rows=7), []
    for step in range(2):
        targets, _ = make_targets(batch, learner.evaluate(batch), 0.3, ppo)
        told.append(learner.update(batch, targets, step, 1.0, texts=texts(coef=0.5)))
    return told


def assert_learns_alike(one: Learner, other: Learner, ppo: PPOSettings) -> list[dict[str, float]]:
    """The same statistics, and weights within 1e-5 of the way that they went; returns the statistics."""
    start = parameters(one)
    alone, together = two_steps(one, ppo), two_steps(other, ppo)
    for a, b in zip(alone, together, strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-6)
    assert np.linalg.norm(parameters(other) - parameters(one)) < 1e-5 * np.linalg.norm(parameters(one) - start)
    return alone


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("sharding", ["replicate", "full"])
@pytest.mark.parametrize("changes", [GRPO, CRITIC], ids=["grpo with a brake", "full KL and a warm-up"])
def test_whatever_is_chosen_two_ranks_learn_what_one_learns(policy: PolicySettings, changes: dict, sharding: Sharding):
    """Texts beside it; mini-batches of one row, of which a rank has none; the brake after as many steps."""
    ppo = dataclasses.replace(LIVELY, epochs=4, minibatches=7, **changes)
    two = DataParallelLearner(policy, ppo, TEMPERATURE, 5, 2, sharding)
    told = assert_learns_alike(local(Path(policy.model), ppo), two, ppo)
    if "advantages" in changes:
        assert told[0]["optimizer_steps"] < 28
    two.close()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("make", "changes", "chosen", "ranks"),
    [
        (tiny_llama, CRITIC, {"tied": True, "gradient_checkpointing": True}, 2),
        (tiny_llama, {"kl": KLSettings(estimator="full")}, {"lora": HEAD, "gradient_checkpointing": True}, 2),
        (tiny_gpt2, {"advantages": "rloo"}, {"lora": LORA}, 3),
    ],
    ids=["tied, checkpointed", "LoRA on the head, checkpointed", "LoRA, three ranks"],
)
def test_whatever_the_model_sharded_ranks_learn_what_one_learns(
    make: Callable[..., Path], changes: dict, chosen: dict, ranks: int, tmp_path: Path
):
    """Micro-batches of a row or two, so that ranks have unequal numbers of them; and what is saved is the same."""
    tied = {"tied": True} if chosen.pop("tied", False) else {}
    policy = PolicySettings(model=str(make(tmp_path / "policy", **tied)), **chosen)
    ppo = dataclasses.replace(LIVELY, minibatches=3, microbatch_tokens=20, **changes)
    one = LocalLearner(policy, ppo, TEMPERATURE, 5)
    several = DataParallelLearner(policy, ppo, TEMPERATURE, 5, ranks, "full")
    assert_learns_alike(one, several, ppo)
    one.save(tmp_path / "one")
    several.save(tmp_path / "several")
    several.close()
    for path in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
        other = tmp_path / "several" / path.relative_to(tmp_path / "one")
        if path.suffix == ".safetensors":
            ours, theirs = load_file(path), load_file(other)
            assert ours.keys() == theirs.keys()
            assert all(np.abs(array - theirs[name]).max() < 1e-6 for name, array in ours.items())
        else:
            assert sorted(path.read_text()) == sorted(other.read_text())  # peft writes a set


@pytest.mark.usefixtures("cluster")
def test_in_bfloat16_sharded_ranks_learn_what_equal_ones_learn(policy: PolicySettings):
    """One rank's products are of other rows together, so they round elsewhere."""
    coarse = dataclasses.replace(policy, dtype="bfloat16")
    two, sharded = (DataParallelLearner(coarse, LIVELY, TEMPERATURE, 5, 2, how) for how in ("replicate", "full"))
    assert_learns_alike(two, sharded, LIVELY)
    two.close()
    sharded.close()


def test_a_checkpoint_goes_on_with_other_ranks(sharded: DataParallelLearner, policy: PolicySettings):
    """Sharded or not, bit for bit the same; and from there on the same way."""
    one = local(Path(policy.model))
    learn(one, [ragged_batch(1)])
    put_state(sharded, state_of(one))
    assert_states_equal(state_of(sharded), state_of(one))
    assert_learns_alike(one, sharded, LIVELY)
    put_state(one, state_of(sharded))
    assert_states_equal(state_of(sharded), state_of(one))


def assert_states_equal(a: State, b: State) -> None:
    assert a.keys() == b.keys()
    for name, array in a.items():
        assert array.dtype == b[name].dtype
        np.testing.assert_array_equal(array, b[name])


def test_a_rank_of_two_holds_half(sharded: DataParallelLearner, policy: PolicySettings):
    """Of policy and reference, gradients and moments; the value head's one row lies with one of them."""
    learn(sharded, [ragged_batch(rows=7)])
    held = on_ranks(sharded, elements)
    all_of_it = elements(local(Path(policy.model)))
    assert [sum(column) for column in zip(*held, strict=True)] == list(all_of_it)
    assert all(np.allclose(np.array(rank) / all_of_it, 0.5, atol=1e-3) for rank in held)


def elements(learner: LocalLearner) -> tuple[int, int, int]:
    """Of parameters, of their gradients, and of moments, in this process."""
    moments = (tensor for name, tensor in learner._optimizer.state().items() if not name.startswith("step."))
    own = [getattr(tensor, "_local_tensor", tensor) for tensor in learner._model.parameters()]
    return (
        sum(tensor.numel() for tensor in own),
        learner._optimizer._gradient._flat.numel(),
        sum(getattr(tensor, "_local_tensor", tensor).numel() for tensor in moments),
    )


def test_one_row_that_is_not_finite_stops_all_ranks_alike(sharded: DataParallelLearner, policy: PolicySettings):
    """In the mini-batches that hold it, one of each epoch; the others are learnt from."""
    one, batch = local(Path(policy.model)), ragged_batch(rows=7)
    before, moved = parameters(one), []
    for learner in (one, sharded):
        targets = targets_of(learner, batch)
        targets.advantages[3, 0] = np.nan
        assert learner.update(batch, targets, step=0)["nonfinite_updates"] == LIVELY.epochs
        moved.append(parameters(learner) - before)
    assert np.linalg.norm(moved[1] - moved[0]) < 1e-5 * np.linalg.norm(moved[0])


def test_gradients_averaged_over_ranks_would_be_noticed(sharded: DataParallelLearner, policy: PolicySettings):
    """Negative control: FSDP's own way of adding up halves them, for a loss divided by all ranks' tokens."""
    on_ranks(sharded, lambda rank: divide_gradients(rank, 2.0))
    with pytest.raises(AssertionError):
        assert_learns_alike(local(Path(policy.model)), sharded, LIVELY)
    on_ranks(sharded, lambda rank: divide_gradients(rank, 1.0))


def divide_gradients(learner: LocalLearner, factor: float) -> None:
    for module in learner._model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(factor)
