"""What only several ranks can get wrong; what every learner does is tested in `ppo/test_learner.py`."""

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from policy.tiny import tiny_llama
from ppo.checks import parameters
from ppo.learners import LIVELY, TEMPERATURE, learn, local, targets_of
from ppo.ragged import ragged_batch
from ppo.test_texts import texts

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.policy.settings import PolicySettings
from plaudit.ppo.settings import KLSettings
from plaudit.ppo.targets import make_targets
from plaudit.rollout.cluster import start_ray
from plaudit.trainer.ranks import DataParallelLearner


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    connection = start_ray(None, num_cpus=2)
    yield
    connection.close()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicySettings:
    return PolicySettings(model=str(tiny_llama(tmp_path_factory.mktemp("llama"))))


def start(policy: PolicySettings, ranks: int = 2, **deadlines: float) -> DataParallelLearner:
    return DataParallelLearner(policy, LIVELY, TEMPERATURE, seed=5, ranks=ranks, **deadlines)


def process_of(learner: DataParallelLearner, rank: int) -> int:
    return int(ray.get(learner._ranks[rank].__ray_call__.remote(lambda self: os.getpid())))


@pytest.mark.usefixtures("cluster")
def test_ranks_stay_equal_and_a_dead_one_ends_the_run(policy: PolicySettings):
    learner, batch = start(policy), ragged_batch(rows=7)
    learn(learner, [batch, batch])
    states = ray.get([rank.call.remote("state") for rank in learner._ranks])
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])

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


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "changes",
    [
        {"advantages": "grpo", "kl": KLSettings(coef=0.3, update_limit_nats_per_token=0.02)},
        {"kl": KLSettings(estimator="full"), "critic": "separate", "critic_warmup_steps": 1},
    ],
    ids=["grpo with a brake", "full KL and a warm-up"],
)
def test_whatever_is_chosen_two_ranks_learn_what_one_learns(policy: PolicySettings, changes: dict):
    """Texts beside it; mini-batches of one row, of which a rank has none; the brake after as many steps."""
    ppo = dataclasses.replace(LIVELY, epochs=4, minibatches=7, **changes)
    batch, text = ragged_batch(rows=7), texts(coef=0.5)
    one = local(Path(policy.model), ppo)
    two = DataParallelLearner(policy, ppo, TEMPERATURE, seed=5, ranks=2)
    start = parameters(one)
    told = []
    for learner in (one, two):
        for step in range(2):
            evaluation = learner.evaluate(batch)
            targets, _ = make_targets(batch, evaluation, 0.3, ppo)
            told.append(learner.update(batch, targets, step, 1.0, texts=text))
    for alone, together in zip(told[:2], told[2:], strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-6)
    move = parameters(one) - start
    assert np.linalg.norm(parameters(two) - parameters(one)) < 1e-4 * np.linalg.norm(move)
    if "advantages" in changes:
        assert told[0]["optimizer_steps"] < 28
    two.close()
