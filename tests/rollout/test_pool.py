"""The pool over real Ray actors: whoever dies, and however many there are, not a bit of the result changes."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from threading import Timer

import numpy as np
import pytest

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.policy.loading import load_causal_lm
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.policy.weights import pack, trainable
from plaudit.rollout import pool as pools
from plaudit.rollout.dispatch import SetAside
from plaudit.rollout.engine import TRANSFORMERS
from plaudit.rollout.pool import PoolBusy, RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.worker import ON_DISK
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, Trajectory, Weights

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


def _weights(value: int) -> Weights:
    return (np.full(1, value, dtype=np.uint8),)


@pytest.fixture(scope="module")
def weights(policy) -> Weights:
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
        pool.on_progress = lambda done, _: Timer(KILL_AFTER_S, _kill, [victims]).start() if done == 4 else None
        assert _bits(pool.generate(REQUESTS, SAMPLING)) == undisturbed
        assert pool.counts.redispatched_lost >= 1, "the workers were killed too late to be generating"


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_every_group_may_lose_its_first_worker(tmp_path):
    with _pool(_echo(tmp_path), HERE + "DiesOncePerGroup", workers=3) as pool:
        trajectories = pool.generate(REQUESTS, SAMPLING)
        assert [t.request for t in trajectories] == REQUESTS
        assert (pool.counts.restarts, pool.counts.redispatched_lost) == (6, 6)


def test_a_prompt_that_kills_workers_is_set_aside_and_the_others_lose_nothing(tmp_path):
    poison = Prompt("poison", (1,))
    requests = [*REQUESTS[:5], RolloutRequest(poison), *REQUESTS[5:]]
    with _pool(_echo(tmp_path), HERE + "PoisonedAtOnce") as pool:
        assert [t.request for t in pool.generate(requests, SAMPLING)] == REQUESTS
        assert (tmp_path / "deaths").read_text().split() == ["poison"] * 6, "three in company, three alone"
        assert pool.set_aside == [poison]
        assert [t.request for t in pool.generate(requests, SAMPLING)] == REQUESTS, "it is not tried again"
        assert pool.counts.restarts == 6
    with _pool(_echo(tmp_path), HERE + "PoisonedAtOnce") as pool:
        pool.leave_out([poison])
        assert [t.request for t in pool.generate(requests, SAMPLING)] == REQUESTS
        assert pool.counts.restarts == 0


def test_workers_that_die_at_whatever_they_are_given_end_the_run(tmp_path):
    told = pytest.raises(RunFailed, match=r"rollout workers in a row died at generating .the last: generate: Actor")
    with _pool(_echo(tmp_path), HERE + "AlwaysDies", max_attempts=1) as pool, told:
        pool.generate(REQUESTS, SAMPLING)


def test_an_engine_that_loses_a_response_is_named(tmp_path):
    told = pytest.raises(RunFailed, match="Forgetful made 3 trajectories for 4 requests")
    with _pool(_echo(tmp_path), HERE + "Forgetful") as pool, told:
        pool.generate(REQUESTS[:4], SAMPLING)


def test_nobody_waits_for_a_slow_worker(tmp_path):
    requests = [*REQUESTS, RolloutRequest(Prompt("slow", (1,)))]
    with _pool(_echo(tmp_path), HERE + "SlowToTheEnd", group_size=1) as pool:
        began = time.monotonic()
        assert [t.request for t in pool.generate(requests, SAMPLING)] == requests
        assert time.monotonic() - began < 25, "it sleeps for 30 s"
        assert (pool.counts.redispatched_slow, pool.counts.restarts) == (1, 0)


def test_what_is_submitted_comes_as_it_ends_and_whoever_dies_only_what_is_missing_goes_out_again(tmp_path):
    """The poison kills its worker after the others of its group were reported."""
    events: SimpleQueue = SimpleQueue()
    requests = [*REQUESTS[:3], RolloutRequest(Prompt("poison", (1,)))]
    with _pool(_echo(tmp_path), HERE + "SlowPoison") as pool:
        pool.submit(requests, SAMPLING, events.put)
        there: list[str] = []
        while not isinstance(event := events.get(timeout=60), SetAside):
            there += [one.request.prompt.id for one in event.trajectories]
        assert sorted(there) == ["p0", "p1", "p2"], "each came once"
        assert [one.prompt.id for one in event.requests] == ["poison"]
        answered = (tmp_path / "answered").read_text().split()
        assert len(answered) < 3 + 3, "what had been reported was not generated again"


def test_whoever_waits_goes_before_what_was_submitted(tmp_path):
    events: SimpleQueue = SimpleQueue()
    with _pool(_echo(tmp_path), HERE + "Slow", workers=1, group_size=1) as pool:
        pool.submit([replace(one, visit=1) for one in REQUESTS], SAMPLING, events.put)
        assert [t.request for t in pool.generate(REQUESTS[:3], SAMPLING)] == REQUESTS[:3]
        assert pool.counts.waiting >= len(REQUESTS) - 4


def test_the_pool_grows_and_shrinks_while_it_generates(tmp_path):
    many = [RolloutRequest(Prompt(f"p{n}", (n,))) for n in range(240)]
    with _pool(_echo(tmp_path), HERE + "Slow", workers=1, group_size=4) as pool:
        pool.set_weights(3, _weights(3))
        sizes = {20: 3, 200: 1}
        pool.on_progress = lambda done, _: pool.resize(sizes.pop(done)) if done in sizes else None
        most = 0

        def look() -> None:
            nonlocal most
            most = max(most, pool.counts.alive)

        pool.on_wait = look
        trajectories = pool.generate(many, SAMPLING)
        assert [t.request for t in trajectories] == many
        assert {(t.weight_version, t.sampler_logprobs[0]) for t in trajectories} == {(3, 3)}
        assert most == 3
        assert (pool.counts.wanted, pool.counts.redispatched_lost, pool.counts.duplicates) == (1, 0, 0)
        deadline = time.monotonic() + 30
        while pool.counts.alive > 1:
            assert time.monotonic() < deadline, "who leaves goes when its group has ended"
            time.sleep(0.05)


def test_a_worker_that_hangs_is_replaced(tmp_path):
    with _pool(_echo(tmp_path), HERE + "HangsOnce", generation_timeout_s=3) as pool:
        assert [t.request for t in pool.generate(REQUESTS, SAMPLING)] == REQUESTS
        assert (pool.counts.restarts, pool.counts.redispatched_lost) == (1, 1)


def test_new_weights_reach_every_worker_before_its_next_group(tmp_path):
    with _pool(_echo(tmp_path), HERE + "DiesLoading") as pool:
        served = {(t.weight_version, t.sampler_logprobs[0]) for t in pool.generate(REQUESTS, SAMPLING)}
        assert served == {(ON_DISK, -1)}
        for version in (1, 2, 7):  # version 2 kills the worker that loads it first
            pool.set_weights(version, _weights(version))
            served = {(t.weight_version, t.sampler_logprobs[0]) for t in pool.generate(REQUESTS, SAMPLING)}
            assert served == {(version, version)}
        assert (pool.counts.restarts, pool.counts.redispatched_lost) == (1, 0)
        deadline = time.monotonic() + 30
        while pool.counts.oldest_version < 7:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert 1 <= pool.counts.syncs <= 3
        assert pool.counts.sync_s > 0


def test_old_weights_are_not_taken_back(tmp_path):
    with _pool(_echo(tmp_path), HERE + "Echo") as pool:
        pool.set_weights(5, _weights(5))
        with pytest.raises(ValueError, match="version 4 come after"):
            pool.set_weights(4, _weights(4))


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
    names = ["p0", "p1", "p2", "p3", "p4", "poison", "p5", "p6"]
    requests = [RolloutRequest(Prompt(name, (1,))) for name in names]
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


def test_a_pool_that_is_held_up_says_so(tmp_path, monkeypatch):
    """As by a call to a cluster whose head is away."""
    with _pool(_echo(tmp_path), workers=1) as pool:
        monkeypatch.setattr(pools, "ANSWER_S", 0.2)
        pool._loop.call_soon_threadsafe(time.sleep, 2)
        with pytest.raises(PoolBusy, match=r"not answered for 0.2 s"):
            _ = pool.counts
        monkeypatch.setattr(pools, "ANSWER_S", 30)
        assert pool.counts.wanted == 1


def test_whoever_leaves_waits_for_no_pool_that_is_held_up(tmp_path, monkeypatch):
    """After SIGTERM there is little time: the wait for responses ends, a checkpoint is written, all closes."""

    class GivenUp(Exception):
        pass

    def give_up():
        raise GivenUp

    monkeypatch.setattr(pools, "CLOSE_S", 0.5)
    pool, over = RayRolloutPool(SETTINGS, _echo(tmp_path), engine=HERE + "Echo"), threading.Event()
    pool.generate(REQUESTS, SAMPLING)
    pool.on_wait = lambda: pool._loop.call_soon_threadsafe(over.wait, 60) and give_up()
    began = time.monotonic()
    with pytest.raises(GivenUp):
        pool.generate(REQUESTS, SAMPLING)
    assert pool.set_aside == []
    pool.close()
    assert time.monotonic() - began < 5
    over.set()
    monkeypatch.setattr(pools, "CLOSE_S", 30)
    pool.close()


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
