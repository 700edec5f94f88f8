"""Every request is answered once, whoever dies and whoever is slow; groups depend on the requests alone."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.errors import RunFailed
from plaudit.rollout.dispatch import LEAST_PATIENCE_S, Delivered, Dispatch, Event, Failed, Order, Run, SetAside
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, Trajectory

SAMPLING = Sampling(4, 1.0, (2,), 0)


def _requests(count: int, name: str = "p") -> list[RolloutRequest]:
    return [RolloutRequest(Prompt(f"{name}{n}", (n,))) for n in range(count)]


def _answers(run: Run) -> list[Trajectory]:
    """What says by whom it was generated, and with whom."""
    beside = ",".join(request.id for request in run.requests)
    return [Trajectory(r, (1,), beside, np.zeros(1, np.float32), "stop", 0) for r in run.requests]


def _answer_quickly(dispatch: Dispatch, groups: int, took: float) -> None:
    """So that it is known how long one takes."""
    for _ in range(groups):
        run = dispatch.take("quick", 0)
        assert run is not None
        dispatch.deliver(run, _answers(run))
        dispatch.ended(run, took)


class Asked:
    """An order and what came of it."""

    def __init__(self, dispatch: Dispatch, requests: list[RolloutRequest], *, fixed: bool) -> None:
        self.events: list[Event] = []
        dispatch.add(Order(requests, SAMPLING, self.events.append, fixed=fixed))

    @property
    def there(self) -> list[Trajectory]:
        return [one for event in self.events if isinstance(event, Delivered) for one in event.trajectories]

    @property
    def set_aside(self) -> list[str]:
        return [one.prompt.id for event in self.events if isinstance(event, SetAside) for one in event.requests]


def _dispatch(group_size: int, **changes: object) -> Dispatch:
    return Dispatch(RolloutSettings(group_size=group_size, **changes))  # type: ignore[arg-type]


@settings(max_examples=300)
@given(
    count=st.integers(0, 40), size=st.integers(1, 9), workers=st.integers(1, 5), fixed=st.booleans(),
    poison=st.sets(st.integers(0, 39), max_size=3), random=st.randoms(use_true_random=False),
)  # fmt: skip
def test_whoever_dies_and_whoever_is_slow_every_request_is_answered_once(
    count: int, size: int, workers: int, fixed: bool, poison: set[int], random: Random
) -> None:
    dispatch = _dispatch(size)
    asked = Asked(dispatch, _requests(count), fixed=fixed)
    poisonous = {f"p{n}" for n in poison if n < count}
    running: dict[int, Run] = {}
    now, chance_deaths = 0.0, 6  # fewer than make a group look as if it could not be generated together
    while dispatch.busy:
        now += random.choice([0.1, 1.0, 10.0])
        for worker in range(workers):
            if worker not in running and (run := dispatch.take(worker, now)):
                running[worker] = run
        worker = random.choice(sorted(running))
        run = running.pop(worker)
        told = 0 if fixed else random.randrange(len(run.requests) + 1)
        names = [request.prompt.id for request in run.requests]
        fatal = next((place for place, name in enumerate(names) if name in poisonous), None)
        if fatal is not None:
            dispatch.deliver(run, _answers(run)[: min(told, fatal)])
            dispatch.lost(run, "killed")
        elif chance_deaths and random.random() < 0.2:
            chance_deaths -= 1
            dispatch.deliver(run, _answers(run)[:told])
            dispatch.lost(run, "chance")
        else:
            dispatch.deliver(run, _answers(run))
            dispatch.ended(run, now)
    answered = [one.request.prompt.id for one in asked.there]
    assert len(answered) == len(set(answered)), "a response was taken twice"
    assert not set(answered) & poisonous
    assert sorted([*answered, *asked.set_aside]) == sorted(f"p{n}" for n in range(count))
    assert poisonous <= set(asked.set_aside)


@settings(max_examples=100)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 5),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_neither_deaths_nor_workers_change_what_is_generated_together(
    lengths: list[int], size: int, workers: int, random: Random
) -> None:
    """Prompts of about one length. Not so where chance alone costs a group as many workers as a prompt that kills."""
    dispatch = _dispatch(size, max_attempts=50)
    requests = [RolloutRequest(Prompt(f"p{n}", (n,) * length)) for n, length in enumerate(lengths)]
    asked = Asked(dispatch, requests, fixed=True)
    now, deaths = 0.0, 40
    while dispatch.busy:
        now += 1
        for run in [found for worker in range(workers) if (found := dispatch.take(worker, now))]:
            if deaths and random.random() < 0.3:
                deaths -= 1
                dispatch.lost(run, "chance")
            else:
                dispatch.deliver(run, _answers(run))
                dispatch.ended(run, now)
    names = [f"p{n}/0/0" for length in range(5, 0, -1) for n in range(len(lengths)) if lengths[n] == length]
    groups = [",".join(names[start : start + size]) for start in range(0, len(names), size)]
    assert {one.response_text for one in asked.there} == set(groups)


def _lose(dispatch: Dispatch, times: int) -> list[list[str]]:
    """The prompts of the next groups to go out, each of which is lost."""
    lost = []
    for _ in range(times):
        run = dispatch.take("worker", 0)
        assert run is not None
        lost.append([request.prompt.id for request in run.requests])
        dispatch.lost(run, "killed")
    return lost


def test_a_group_that_costs_three_workers_is_tried_alone_and_goes_out_whole_again() -> None:
    """Chance, not a prompt: nothing is set aside, and what is delivered was generated together."""
    dispatch = _dispatch(2)
    asked = Asked(dispatch, _requests(2), fixed=True)
    assert _lose(dispatch, 3) == [["p0", "p1"]] * 3
    for name in ("p0", "p1"):
        run = dispatch.take("worker", 0)
        assert run is not None
        assert [request.prompt.id for request in run.requests] == [name]
        dispatch.deliver(run, _answers(run))
        dispatch.ended(run, 1)
    assert asked.there == []
    assert _lose(dispatch, 1) == [["p0", "p1"]], "it was chance: the group counts anew"
    run = dispatch.take("worker", 2)
    assert run is not None
    dispatch.deliver(run, _answers(run))
    assert [one.response_text for one in asked.there] == ["p0/0/0,p1/0/0"] * 2


def test_a_group_that_dies_as_a_whole_again_and_again_ends_the_order() -> None:
    """Too large for the workers, though each of its requests is not."""
    dispatch = _dispatch(2)
    asked = Asked(dispatch, _requests(2), fixed=True)
    for _ in range(3):
        _lose(dispatch, 3)
        for _ in range(2):
            run = dispatch.take("worker", 0)
            assert run is not None
            dispatch.deliver(run, _answers(run))
            dispatch.ended(run, 1)
    (failed,) = asked.events
    assert isinstance(failed, Failed)
    assert "prompts 'p0', 'p1'" in str(failed.error)
    assert "rollout.group_size" in str(failed.error)


def test_who_was_never_alone_with_its_worker_is_not_set_aside() -> None:
    """The group's third loss falls on the last response that is missing: it is tried alone first."""
    dispatch = _dispatch(2)
    asked = Asked(dispatch, _requests(2), fixed=False)
    _lose(dispatch, 1)
    run = dispatch.take("worker", 0)
    assert run is not None
    dispatch.deliver(run, _answers(run)[:1])
    dispatch.lost(run, "chance")
    assert _lose(dispatch, 3) == [["p1"]] * 3, "one of them as what is left of its group, two alone"
    run = dispatch.take("worker", 0)
    assert run is not None
    dispatch.deliver(run, _answers(run))
    assert asked.set_aside == []
    assert len(asked.there) == 2


def test_who_is_set_aside_when_changes_no_group() -> None:
    """What resumes knows it from the start, what found out in the middle did not."""
    groups = []
    for known in (True, False):
        dispatch = _dispatch(2, max_attempts=1)
        requests = _requests(6)
        if known:
            dispatch.set_aside[requests[1].prompt] = "before"
        asked = Asked(dispatch, requests, fixed=True)
        while run := dispatch.take("worker", 0):
            if any(request.prompt.id == "p1" for request in run.requests):
                dispatch.lost(run, "killed")
            else:
                dispatch.deliver(run, _answers(run))
                dispatch.ended(run, 1)
        groups.append({one.request.id: one.response_text for one in asked.there})
    assert groups[0] == groups[1]


def test_a_prompt_that_costs_three_workers_alone_is_set_aside_with_all_its_samples() -> None:
    dispatch = _dispatch(4)
    killer = Prompt("killer", (1,))
    requests = [RolloutRequest(killer, 0, 0), RolloutRequest(killer, 0, 1), *_requests(2)]
    asked, later = Asked(dispatch, requests, fixed=True), Asked(dispatch, _requests(1, "q"), fixed=True)
    assert _lose(dispatch, 6)[3:] == [["killer"]] * 3
    assert asked.set_aside == ["killer", "killer"]
    assert list(dispatch.set_aside) == [killer]
    while run := dispatch.take("worker", 0):
        dispatch.deliver(run, _answers(run))
        dispatch.ended(run, 1)
    assert [one.response_text for one in asked.there] == ["p0/0/0,p1/0/0"] * 2
    assert len(later.there) == 1
    assert Asked(dispatch, requests[:1], fixed=True).set_aside == ["killer"], "it is not tried again"
    assert not dispatch.busy


def test_who_is_slow_gets_a_rival_and_the_first_to_end_counts() -> None:
    dispatch = _dispatch(1)
    asked = Asked(dispatch, _requests(5), fixed=True)
    slow = dispatch.take("slow", 0)
    assert slow is not None
    for second in (0, 2, 4, 6):
        run = dispatch.take("quick", second)
        assert run is not None
        dispatch.deliver(run, _answers(run))
        dispatch.ended(run, second + 2)
    assert dispatch.next_due() == 6, "three times what is usual"
    assert dispatch.take("quick", 5.9) is None
    rival = dispatch.take("quick", 6)
    assert rival is not None
    assert rival.requests == slow.requests
    assert dispatch.take("third", 60) is None, "two at one group are enough"
    dispatch.deliver(rival, _answers(rival))
    assert not dispatch.busy, "nobody waits for the slow one"
    dispatch.deliver(slow, _answers(slow))
    assert len(asked.there) == 5
    assert (dispatch.redispatched_slow, dispatch.redispatched_lost) == (1, 0)


def test_who_is_lost_while_a_rival_is_at_the_same_is_not_replaced() -> None:
    dispatch = _dispatch(1)
    asked = Asked(dispatch, _requests(4), fixed=True)
    slow = dispatch.take("slow", 0)
    assert slow is not None
    _answer_quickly(dispatch, 3, took=1)
    rival = dispatch.take("quick", LEAST_PATIENCE_S)
    assert rival is not None
    dispatch.lost(slow, "killed")
    assert dispatch.take("third", LEAST_PATIENCE_S) is None
    dispatch.lost(rival, "killed")
    again = dispatch.take("third", LEAST_PATIENCE_S)
    assert again is not None
    dispatch.deliver(again, _answers(again))
    assert len(asked.there) == 4


def test_the_late_copy_of_an_order_that_goes_on_is_a_duplicate() -> None:
    dispatch = _dispatch(1)
    asked = Asked(dispatch, _requests(6), fixed=False)
    slow, other = dispatch.take("slow", 0), dispatch.take("other", 0)
    assert slow is not None
    assert other is not None
    _answer_quickly(dispatch, 4, took=0.1)
    rival = dispatch.take("quick", LEAST_PATIENCE_S)
    assert rival is not None
    dispatch.deliver(rival, _answers(rival))
    dispatch.deliver(slow, _answers(slow))
    assert (dispatch.duplicates, len(asked.there)) == (1, 5)


def test_without_a_factor_nobody_is_slow() -> None:
    dispatch = _dispatch(1, straggler_factor=None)
    Asked(dispatch, _requests(8), fixed=True)
    for _ in range(7):
        run = dispatch.take("quick", 0)
        assert run is not None
        dispatch.deliver(run, _answers(run))
        dispatch.ended(run, 0.1)
    assert dispatch.take("slow", 1)
    assert dispatch.next_due() is None
    assert dispatch.take("quick", 1e9) is None


def test_what_is_missing_of_a_loose_order_goes_out_again_and_no_more() -> None:
    dispatch = _dispatch(4)
    Asked(dispatch, _requests(4), fixed=False)
    run = dispatch.take("worker", 0)
    assert run is not None
    dispatch.deliver(run, _answers(run)[:3])
    dispatch.lost(run, "killed")
    again = dispatch.take("worker", 0)
    assert again is not None
    assert [request.prompt.id for request in again.requests] == ["p3"]


def test_a_failure_ends_every_order() -> None:
    dispatch = _dispatch(4)
    orders = [Asked(dispatch, _requests(4), fixed=fixed) for fixed in (True, False)]
    run = dispatch.take("worker", 0)
    assert run is not None
    dispatch.fail(RunFailed("over"))
    assert all(isinstance(asked.events[-1], Failed) for asked in orders)
    dispatch.deliver(run, _answers(run))
    dispatch.ended(run, 1)
    assert not any(asked.there for asked in orders)
    assert dispatch.take("worker", 1) is None


def test_an_order_may_go_before_others() -> None:
    dispatch = _dispatch(1)
    Asked(dispatch, _requests(2), fixed=False)
    dispatch.add(Order(_requests(2, "first"), SAMPLING, lambda _: None, fixed=True), first=True)
    taken = [run.requests[0].prompt.id for n in range(4) if (run := dispatch.take(n, 0))]
    assert taken == ["first0", "first1", "p0", "p1"]


def test_two_requests_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        Order([*_requests(1), *_requests(1)], SAMPLING, lambda _: None, fixed=True)


def test_many_samples_of_a_prompt_name_it_once() -> None:
    dispatch = _dispatch(30)
    Asked(dispatch, [RolloutRequest(Prompt("same", (1,)), sample_index=n) for n in range(4)], fixed=True)
    run = dispatch.take("worker", 0)
    assert run is not None
    assert run.names() == "'same'"
    Asked(dispatch, _requests(20), fixed=True)
    many = dispatch.take("other", 0)
    assert many is not None
    assert many.names() == ", ".join(f"'p{n}'" for n in range(8)) + " and 12 more"
