"""Ahead of the learner by so many versions and no more, every prompt once, whoever is late: threads for workers."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from plaudit.errors import DependencyUnreachable, RunFailed
from plaudit.rollout.dispatch import Delivered, Event, Failed, SetAside
from plaudit.trainer.overlapped import OverlappedRollouts
from plaudit.trainer.prompts import PromptStream
from plaudit.trainer.roles import Position
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, ScoredTrajectory, Trajectory

SAMPLING = Sampling(4, 1.0, (2,), 0)
START = Position([], 0)
BATCH = 8  # responses


class ThreadPool:
    """Answers each request by itself, `seconds(request)` after it was asked, with the weights that it had then."""

    def __init__(self, seconds: Callable[[RolloutRequest], float] = lambda request: 0.0) -> None:
        self.seconds = seconds
        self.version = 0
        self.asked: list[RolloutRequest] = []
        self.set_aside: set[str] = set()
        self._threads = ThreadPoolExecutor(64)

    def submit(self, requests: Sequence[RolloutRequest], sampling: Sampling, on_event: Callable[[Event], None]) -> None:
        self.asked += requests
        for request in requests:
            self._threads.submit(self._answer, request, self.version, on_event)

    def set_weights(self, version: int, weights: object) -> None:
        self.version = version

    def _answer(self, request: RolloutRequest, version: int, on_event: Callable[[Event], None]) -> None:
        time.sleep(self.seconds(request))
        if request.prompt.id in self.set_aside:
            on_event(SetAside([request]))
        else:
            on_event(Delivered([Trajectory(request, (1, 2), "", np.zeros(2, np.float32), "stop", version)]))


class RandomScorer:
    """Some responses have no score."""

    def __init__(self, missing: float = 0.0, allowed: float = 1.0, seconds: float = 0.0) -> None:
        self.missing, self.allowed, self.seconds = missing, allowed, seconds
        self.asked: list[str] = []
        self._random = random.Random(0)

    def ask(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        time.sleep(self.seconds)
        self.asked += [one.request.id for one in trajectories]
        return [None if self._random.random() < self.missing else ScoredTrajectory(one, 1.0) for one in trajectories]

    def check_missing(self, missing: int, asked: int) -> None:
        if missing > self.allowed * asked:
            raise RunFailed(f"{missing} of {asked} trajectories have no reward")


def stream(prompts: int = 40, samples: int = 1) -> PromptStream:
    return PromptStream([Prompt(f"a/{n}", (n,)) for n in range(prompts)], BATCH // samples, samples, seed=0)


@contextmanager
def rollouts(
    pool: object,
    scorer: object = None,
    prompts: PromptStream | None = None,
    staleness: int = 1,
    steps: int = 1000,
    **named: object,
) -> Iterator[OverlappedRollouts]:
    made = OverlappedRollouts(
        prompts or stream(), pool, scorer or RandomScorer(), SAMPLING, max_staleness=staleness, steps=steps, **named
    )
    try:
        yield made
    finally:
        made.close()


def phase(name: str) -> object:
    return nullcontext()


@pytest.mark.parametrize("staleness", [0, 1, 3])
@pytest.mark.parametrize("samples", [1, 4])
def test_every_response_is_learnt_from_once_or_counted_and_none_is_older_than_the_bound(
    staleness: int, samples: int
) -> None:
    chance = random.Random(staleness)
    pool = ThreadPool(lambda request: chance.expovariate(200))
    trained: list[str] = []
    counts: Counter[str] = Counter()
    with rollouts(pool, RandomScorer(missing=0.05), stream(samples=samples), staleness) as ahead:
        ahead.begin(0, START)
        for step in range(30):
            collected = ahead.collect(step, phase)
            versions = [one.trajectory.weight_version for one in collected.scored]
            assert step - staleness <= min(versions) <= max(versions) <= step
            trained += [one.trajectory.request.id for one in collected.scored]
            counts.update(collected.counts)
            time.sleep(0.005)
            ahead.publish(step + 1, ())
        in_flight, drawn = ahead.position(30)
        counts.update(ahead._counts)  # of responses that came since the last batch was made up
    assert len(trained) == len(set(trained))
    assert not set(trained) & set(in_flight)
    if samples == 1:  # else some in flight were counted as missing while others of their prompt are under way
        assert drawn == len(trained) + counts["missing_rewards"] + counts["stale_dropped"] + len(in_flight)
    assert sum(counts[f"staleness_{lag}"] for lag in range(staleness + 1)) == len(trained)
    assert {request.id for request in pool.asked} >= set(trained) | set(in_flight)


def test_no_more_is_asked_for_than_the_bound_allows() -> None:
    pool = ThreadPool(lambda request: 5)
    for staleness in (0, 1, 2):
        pool.asked.clear()
        with rollouts(pool, staleness=staleness) as ahead:
            ahead.begin(5, Position([], 5 * BATCH))
            assert len(pool.asked) == (staleness + 1) * BATCH


def test_nothing_is_asked_for_that_no_step_will_learn_from() -> None:
    pool = ThreadPool()
    with rollouts(pool, staleness=0, steps=3) as ahead:
        ahead.begin(0, START)
        for step in range(3):
            ahead.collect(step, phase)
            ahead.publish(step + 1, ())
    assert len(pool.asked) == 3 * BATCH


def test_nobody_waits_for_a_straggler_and_what_is_too_old_is_dropped_and_counted() -> None:
    pool = ThreadPool(lambda request: 0.5 if request.id == slow else 0.0)
    slow = stream().visit(3)[0].id
    began, dropped = time.monotonic(), 0.0
    with rollouts(pool) as ahead:
        ahead.begin(0, START)
        for step in range(4):
            trained = {one.trajectory.request.id for one in ahead.collect(step, phase).scored}
            assert slow not in trained
            ahead.publish(step + 1, ())
        assert time.monotonic() - began < 0.5
        time.sleep(0.6)
        for step in range(4, 8):
            collected = ahead.collect(step, phase)
            assert slow not in {one.trajectory.request.id for one in collected.scored}
            dropped += collected.counts["stale_dropped"]
            ahead.publish(step + 1, ())
    assert dropped >= 1


class PoolByHand(ThreadPool):
    """Answers when told to."""

    def submit(self, requests: Sequence[RolloutRequest], sampling: Sampling, on_event: Callable[[Event], None]) -> None:
        self.waiting = [*getattr(self, "waiting", []), *((one, self.version, on_event) for one in requests)]

    def answer(self, version: int, count: int) -> None:
        """`count` of those that were asked for at this version."""
        chosen = [one for one in self.waiting if one[1] == version][:count]
        self.waiting = [one for one in self.waiting if one not in chosen]
        for one in chosen:
            self._answer(*one)


def test_the_oldest_weights_go_first() -> None:
    """Else what waits longest would be too old in the end."""
    pool = PoolByHand()
    with rollouts(pool) as ahead:
        ahead.begin(0, START)
        pool.answer(0, BATCH)
        ahead.collect(0, phase)
        ahead.publish(1, ())
        pool.answer(1, BATCH)  # asked for later, there earlier
        pool.answer(0, BATCH)
        deadline = time.monotonic() + 10
        while len(ahead._ready) < 2 * BATCH:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert {one.trajectory.weight_version for one in ahead.collect(1, phase).scored} == {0}


def test_a_score_is_asked_for_as_soon_as_its_response_is_there() -> None:
    late = threading.Event()
    slow = stream().visit(0)[0].id
    pool, scorer = ThreadPool(lambda request: late.wait(10) and 0.0 if request.id == slow else 0.0), RandomScorer()
    with rollouts(pool, scorer, staleness=0) as ahead:
        ahead.begin(0, START)
        deadline = time.monotonic() + 10
        while len(scorer.asked) < BATCH - 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert slow not in scorer.asked
        late.set()
        assert len(ahead.collect(0, phase).scored) == BATCH


def test_what_resumes_asks_again_for_what_was_in_flight_and_goes_on_behind_it() -> None:
    prompts = stream()
    trained: list[str] = []
    position, dropped = START, 0.0
    for first in (0, 5, 10):  # killed twice; the step under way was given up
        pool = ThreadPool(lambda request: random.random() / 100)
        pool.set_weights(first, None)
        with rollouts(pool) as ahead:
            ahead.begin(first, position)
            assert [request.id for request in pool.asked[: len(position.in_flight)]] == position.in_flight[: 2 * BATCH]
            for step in range(first, first + 5):
                collected = ahead.collect(step, phase)
                trained += [one.trajectory.request.id for one in collected.scored]
                dropped += collected.counts["stale_dropped"]
                ahead.publish(step + 1, ())
            dropped += ahead.collect(first + 5, phase).counts["stale_dropped"]
            position = ahead.position(first + 5)
    assert len(trained) == len(set(trained)) == 15 * BATCH
    expected = {request.id for place in range(position.drawn) for request in prompts.visit(place)}
    left = set(trained) | set(position.in_flight)
    assert left <= expected
    assert len(expected) - len(left) == dropped, "none is lost but what is counted"


def test_samples_of_one_prompt_stay_together() -> None:
    pool = ThreadPool(lambda request: random.random() / 50)
    with rollouts(pool, prompts=stream(samples=4)) as ahead:
        ahead.begin(0, START)
        for step in range(5):
            counted = Counter(one.trajectory.request.prompt.id for one in ahead.collect(step, phase).scored)
            assert set(counted.values()) == {4}
            ahead.publish(step + 1, ())


def test_generation_goes_on_while_the_learner_learns() -> None:
    """20 steps of three stages of 0.1 s: in turn they would take 6 s."""
    pool = ThreadPool(lambda request: 0.1)
    with rollouts(pool, RandomScorer(seconds=0.1), staleness=2) as ahead:
        ahead.begin(0, START)
        ahead.collect(0, phase)
        began = time.monotonic()
        for step in range(1, 21):
            time.sleep(0.1)
            ahead.publish(step, ())
            ahead.collect(step, phase)
        assert time.monotonic() - began < 20 * 0.1 * 1.25


def test_what_goes_wrong_elsewhere_is_raised_by_collect() -> None:
    class Broken(RandomScorer):
        def ask(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
            raise DependencyUnreachable("no reward server")

    with rollouts(ThreadPool(), Broken()) as ahead:
        ahead.begin(0, START)
        with pytest.raises(DependencyUnreachable):
            ahead.collect(0, phase)

    class Lost(ThreadPool):
        def submit(self, requests: object, sampling: object, on_event: Callable[[Event], None]) -> None:
            on_event(Failed(RunFailed("every rollout worker is lost")))

    class Mistaken(RandomScorer):
        def ask(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
            raise IndexError("a mistake")

    with rollouts(ThreadPool(), Mistaken()) as ahead:
        ahead.begin(0, START)
        with pytest.raises(RunFailed, match=r"could not be dealt with .IndexError: a mistake"):
            ahead.collect(0, phase)

    with rollouts(Lost()) as ahead:
        ahead.begin(0, START)
        with pytest.raises(RunFailed, match="worker is lost"):
            ahead.collect(0, phase)


def test_too_many_without_a_score_end_the_run() -> None:
    with rollouts(ThreadPool(), RandomScorer(missing=0.9, allowed=0.5)) as ahead:
        ahead.begin(0, START)
        with pytest.raises(RunFailed, match="of 8 trajectories have no reward"):
            ahead.collect(0, phase)


def test_prompts_that_are_set_aside_are_replaced_and_counted_and_all_of_them_end_the_run() -> None:
    pool = ThreadPool()
    pool.set_aside = {"a/1", "a/2"}
    counts: Counter[str] = Counter()
    with rollouts(pool, staleness=0) as ahead:
        ahead.begin(0, START)
        for step in range(10):  # two passes over 40 prompts
            collected = ahead.collect(step, phase)
            assert len(collected.scored) == BATCH
            counts.update(collected.counts)
            ahead.publish(step + 1, ())
    assert counts["set_aside"] == 4
    pool.set_aside = {f"a/{n}" for n in range(40)}
    with rollouts(pool, staleness=0) as ahead:
        ahead.begin(0, START)
        with pytest.raises(RunFailed, match="every prompt is set aside"):
            ahead.collect(0, phase)


def test_waiting_can_be_given_up() -> None:
    class Enough(Exception):
        pass

    def give_up() -> None:
        raise Enough

    with rollouts(ThreadPool(lambda request: 5), on_wait=give_up) as ahead:
        ahead.begin(0, START)
        with pytest.raises(Enough):
            ahead.collect(0, phase)
