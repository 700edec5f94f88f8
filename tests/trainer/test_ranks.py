"""What only several ranks can get wrong; what every learner does is tested in `ppo/test_learner.py`."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from policy.tiny import tiny_llama
from ppo.learners import LIVELY, TEMPERATURE, learn, targets_of
from ppo.ragged import ragged_batch

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.policy.settings import PolicySettings
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
