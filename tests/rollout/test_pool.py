"""The pool over real Ray actors: whoever dies, and however many there are, not a bit of the result changes."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Timer

import numpy as np
import pytest

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.policy.flat_weights import pack, trainable
from plaudit.policy.loading import load_causal_lm
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.rollout.engine import TRANSFORMERS
from plaudit.rollout.pool import ON_DISK, PoolCounts, RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, Trajectory

from .engines import HERE

pytestmark = pytest.mark.usefixtures("ray")

REQUESTS = [RolloutRequest(Prompt(f"p{n}", tuple(range(5, 6 + n % 7)))) for n in range(22)]
SAMPLING = Sampling(max_new_tokens=100, temperature=0.7, stop_token_ids=(2,), run_seed=1)
KILL_AFTER_S = 0.02  # a group of 100 tokens takes ten times as long
SETTINGS = RolloutSettings(workers=2, group_size=4, cpus_per_worker=1)


@contextmanager
def _pool(policy: PolicySettings, engine: str = TRANSFORMERS, **changes) -> Iterator[RayRolloutPool]:
    pool = RayRolloutPool(replace(SETTINGS, **changes), policy, engine=engine)
    try:
        yield pool
    finally:
        pool.close()


def _bits(trajectories: list[Trajectory]) -> list[tuple]:
    return [
        (t.request, t.response_ids, t.sampler_logprobs.tobytes(), t.finish_reason, t.weight_version)
        for t in trajectories
    ]


def _echo(tmp_path) -> PolicySettings:
    return PolicySettings(model=str(tmp_path))


def _flat(value: int) -> np.ndarray:
    return np.full(1, value, dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(policy) -> np.ndarray:
    return pack(trainable(load_causal_lm(policy)))


@pytest.fixture(scope="module")
def undisturbed(ray, policy, weights) -> list[tuple]:
    with _pool(policy, workers=1) as pool:
        pool.set_weights(4, weights)
        return _bits(pool.generate(REQUESTS, SAMPLING))


def test_trajectories_come_in_the_requests_order(undisturbed):
    assert [request for request, *_ in undisturbed] == REQUESTS
    assert {version for *_, version in undisturbed} == {4}


@pytest.mark.parametrize("workers", [1, 3])
def test_killing_workers_while_they_generate_changes_not_a_bit(policy, weights, undisturbed, workers):
    with _pool(policy, workers=workers) as pool:
        pool.set_weights(4, weights)
        while pool.counts.alive < workers:
            assert _bits(pool.generate(REQUESTS, SAMPLING)) == undisturbed
        victims = pool.worker_pids()[: max(1, workers - 1)]
        pool.on_group_done = lambda done, _: Timer(KILL_AFTER_S, _kill, [victims]).start() if done == 1 else None
        assert _bits(pool.generate(REQUESTS, SAMPLING)) == undisturbed
        assert pool.counts.redispatched >= 1, "the workers were killed too late to be generating"


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_every_group_may_lose_its_first_worker(tmp_path):
    with _pool(_echo(tmp_path), HERE + "DiesOncePerGroup", workers=3) as pool:
        trajectories = pool.generate(REQUESTS, SAMPLING)
        assert [t.request for t in trajectories] == REQUESTS
        assert pool.counts == PoolCounts(alive=pool.counts.alive, restarts=6, redispatched=6)


def test_a_group_that_kills_three_workers_ends_the_run_and_is_named(tmp_path):
    requests = [*REQUESTS[:5], RolloutRequest(Prompt("poison", (1,))), *REQUESTS[5:]]
    with _pool(_echo(tmp_path), HERE + "Poisoned") as pool:
        with pytest.raises(RunFailed, match=r"'p4', 'poison', 'p5', 'p6'.*cost 3 rollout workers"):
            pool.generate(requests, SAMPLING)
        assert [t.request for t in pool.generate(REQUESTS, SAMPLING)] == REQUESTS, "the pool can still be used"


def test_a_worker_that_hangs_is_replaced(tmp_path):
    with _pool(_echo(tmp_path), HERE + "HangsOnce", generation_timeout_s=3) as pool:
        assert [t.request for t in pool.generate(REQUESTS, SAMPLING)] == REQUESTS
        assert (pool.counts.restarts, pool.counts.redispatched) == (1, 1)


def test_new_weights_reach_every_worker_before_its_next_group(tmp_path):
    with _pool(_echo(tmp_path), HERE + "DiesLoading") as pool:
        served = {(t.weight_version, t.sampler_logprobs[0]) for t in pool.generate(REQUESTS, SAMPLING)}
        assert served == {(ON_DISK, -1)}
        for version in (1, 2, 7):  # version 2 kills the worker that loads it first
            pool.set_weights(version, _flat(version))
            served = {(t.weight_version, t.sampler_logprobs[0]) for t in pool.generate(REQUESTS, SAMPLING)}
            assert served == {(version, version)}
        assert (pool.counts.restarts, pool.counts.redispatched) == (1, 0)


def test_old_weights_are_not_taken_back(tmp_path):
    with _pool(_echo(tmp_path), HERE + "Echo") as pool:
        pool.set_weights(5, _flat(5))
        with pytest.raises(ValueError, match="version 4 come after"):
            pool.set_weights(4, _flat(4))


def test_workers_that_cannot_start_end_the_run(tmp_path):
    with _pool(_echo(tmp_path), HERE + "NeverStarts") as pool:
        with pytest.raises(RunFailed, match="every rollout worker is lost"):
            pool.generate(REQUESTS, SAMPLING)
        assert pool.counts.alive == 0


def test_a_cluster_without_room_says_what_is_asked_and_what_there_is(tmp_path):
    says = r"each of 2 asks for 99 CPUs, the Ray cluster has.*/session_\S+/logs of the node"
    asked = pytest.raises(RunFailed, match=says)
    with _pool(_echo(tmp_path), HERE + "Echo", cpus_per_worker=99, start_timeout_s=2) as pool, asked:
        pool.generate(REQUESTS, SAMPLING)


def test_what_an_engine_says_about_the_configuration_reaches_the_user(tmp_path):
    told = pytest.raises(ConfigurationError, match=r"^no model folder '.*' on this node$")
    with _pool(_echo(tmp_path), HERE + "Misconfigured") as pool, told:
        pool.generate(REQUESTS, SAMPLING)


def test_what_an_engine_fails_at_is_named_with_its_prompts(tmp_path):
    requests = [*REQUESTS[:5], RolloutRequest(Prompt("poison", (1,))), *REQUESTS[5:]]
    with _pool(_echo(tmp_path), HERE + "RunsOutOfMemory") as pool:
        told = r"^prompts 'p4', 'poison', 'p5', 'p6': .*failed .MemoryError: tried to allocate 80 GiB.: leave"
        with pytest.raises(RunFailed, match=told) as failure:
            pool.generate(requests, SAMPLING)
        assert isinstance(failure.value.__cause__, MemoryError)
        assert [t.request for t in pool.generate(REQUESTS, SAMPLING)] == REQUESTS, "the pool can still be used"


def test_lora_workers_get_the_adapter_alone(policy):
    adapted = replace(policy, lora=LoraSettings(rank=2))
    model = load_causal_lm(adapted)
    with _pool(adapted, workers=1) as pool:
        pool.set_weights(0, pack(trainable(model)))
        before = pool.generate(REQUESTS[:4], SAMPLING)
        pool.set_weights(1, pack({name: tensor + 0.2 for name, tensor in trainable(model).items()}))
        after = pool.generate(REQUESTS[:4], SAMPLING)
    assert [t.response_ids for t in before] != [t.response_ids for t in after]


def test_closing_ends_workers_in_the_middle_of_their_work(tmp_path):
    pool = RayRolloutPool(SETTINGS, _echo(tmp_path), engine=HERE + "Echo")
    pool.generate(REQUESTS, SAMPLING)
    pids = pool.worker_pids()
    assert pids
    pool.close()
    for _ in range(100):
        if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail("workers outlived the pool")
