"""The core against scripted outcomes and a clock that only its own waits move: no server, no sleeping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit_client import (
    PATIENT,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    QuotaExceeded,
    RetryPolicy,
    ServerFault,
    ServerUnavailable,
)
from plaudit_client.core import Call, Core, Wait, resume, start
from plaudit_client.retry import RetryBudget
from plaudit_protos.reward.v1 import reward_pb2 as pb

MODEL = pb.GetModelResponse(model=pb.ModelInfo(name="models/m/versions/1"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(flow, outcomes, clock, call_seconds=0.0):
    """Runs `flow`; returns its result and all it asked for."""
    outcomes, seen = iter(outcomes), []
    try:
        command = start(flow)
        while True:
            seen.append(command)
            clock.now += command.seconds if isinstance(command, Wait) else call_seconds
            command = resume(flow, next(outcomes) if isinstance(command, Call) else None)
    except StopIteration as end:
        return end.value, seen


def core(clock, timeout=60.0, **policy):
    return Core("", timeout, RetryPolicy(**policy), clock)


def test_waits_grow_and_get_jitter():
    clock, down = Clock(), ServerUnavailable("down")
    model, seen = play(core(clock).get_model(None), [down, down, down, MODEL], clock)
    assert model.name == "models/m/versions/1"
    waits = [command.seconds for command in seen if isinstance(command, Wait)]
    assert [kind.__name__ for kind in map(type, seen)] == ["Call", "Wait"] * 3 + ["Call"]
    for wait, plain in zip(waits, [0.1, 0.2, 0.4], strict=True):
        assert plain <= wait <= plain * 1.25


@given(st.integers(1, 10**6), st.none() | st.floats(0, 100))
def test_a_wait_is_never_shorter_than_the_server_asked_nor_unbounded(attempt, asked):
    wait = RetryPolicy().delay(attempt, asked)
    assert wait >= (asked if asked is not None else 0.1)
    assert wait <= 1.25 * (asked if asked is not None else 5.0)


def test_retry_info_is_obeyed():
    clock = Clock()
    _, seen = play(core(clock).get_model(None), [Overloaded("full", retry_after=7.0), MODEL], clock)
    assert 7.0 <= seen[1].seconds <= 7.0 * 1.25


@pytest.mark.parametrize("error", [InvalidRequest("no"), DeadlineExceeded("late"), ServerFault("bug")])
def test_only_unavailable_is_retried(error):
    clock = Clock()
    with pytest.raises(type(error)):
        play(core(clock).get_model(None), [error], clock)


def test_a_quota_is_waited_for_as_the_server_says_and_spends_no_budget():
    clock = Clock()
    asked, used_up = core(clock, max_attempts=2), QuotaExceeded("used up", retry_after=7.0)
    _, seen = play(asked.get_model(None), [used_up] * 5 + [MODEL], clock)
    assert all(7.0 <= command.seconds <= 7.0 * 1.25 for command in seen if isinstance(command, Wait))
    assert asked.budget.counts.retries == 0
    for error in (QuotaExceeded("for ever"), QuotaExceeded("too long", retry_after=60.0)):
        with pytest.raises(QuotaExceeded):
            play(core(clock).get_model(None), [error], clock)


def test_each_attempt_gets_what_is_left_of_the_callers_time():
    clock, down = Clock(), ServerUnavailable("down", retry_after=3.0)
    _, seen = play(core(clock, jitter=0.0).get_model(10.0), [down, down, MODEL], clock, call_seconds=1.0)
    assert [command.timeout for command in seen if isinstance(command, Call)] == [10.0, 6.0, 2.0]


def test_a_wait_beyond_the_deadline_is_not_begun():
    clock = Clock()
    with pytest.raises(ServerUnavailable, match="down"):
        play(core(clock).get_model(5.0), [ServerUnavailable("down", retry_after=5.0)], clock)
    assert clock.now == Clock.now


def test_attempts_are_bounded():
    clock = Clock()
    outcomes = [ServerUnavailable(text) for text in ("first", "second", "third")]
    with pytest.raises(ServerUnavailable, match="third"):
        play(core(clock, max_attempts=3).get_model(None), outcomes, clock)


def test_the_patient_ask_as_long_as_they_have_time_and_never_in_a_hurry():
    """A server that is away for nine of ten minutes, and the calls of a trainer that asks for one item each."""
    clock = Clock()
    asked = Core("", 600.0, PATIENT, clock)
    for _ in range(300):
        back = clock.now + 540
        outcomes = iter(lambda back=back: ServerUnavailable("gone") if clock.now < back else MODEL, None)
        _, seen = play(asked.get_model(None), outcomes, clock)
        waits = [command.seconds for command in seen if isinstance(command, Wait)]
        assert max(waits) <= 15.0 * 1.25
        assert len(waits) <= 8 + 540 / 15.0
    assert asked.budget.counts.refused == 0
    with pytest.raises(ServerUnavailable):
        play(asked.get_model(None), iter(lambda: ServerUnavailable("gone"), None), clock)


def test_waiting_for_readiness_ends_with_the_last_reason_and_spends_no_budget():
    clock = Clock()
    asked = core(clock)
    with pytest.raises(ServerUnavailable, match="not ready after 30 s: loading") as raised:
        play(
            asked.wait_until_ready(30.0),
            iter(lambda: ServerUnavailable("loading", reason="MODEL_LOADING"), None),
            clock,
        )
    assert raised.value.reason == "MODEL_LOADING"
    assert 28.5 <= clock.now - Clock.now <= 30.0
    assert asked.budget.counts.retries == 0


def test_waiting_for_readiness_does_not_wait_for_what_will_not_come():
    clock = Clock()
    with pytest.raises(InvalidRequest):
        play(core(clock).wait_until_ready(30.0), [ServerUnavailable("loading"), InvalidRequest("no")], clock)


def test_budget_starts_with_ten_and_earns_a_tenth_of_a_retry_a_call():
    clock = Clock()
    budget = RetryBudget(clock=clock)
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(10):
        budget.pay_in()
    assert [budget.take(), budget.take()] == [True, False]
    assert (budget.counts.calls, budget.counts.retries, budget.counts.refused) == (10, 11, 2)


def test_budget_trickles_but_never_above_its_capacity():
    clock = Clock()
    budget = RetryBudget(clock=clock)
    while budget.take():
        pass
    clock.now += 10.5
    assert [budget.take(), budget.take()] == [True, False]
    clock.now += 1e6
    assert sum(budget.take() for _ in range(100)) == 10


@given(st.lists(st.integers(0, 5), max_size=300))
def test_retries_are_a_tenth_of_the_calls_whatever_happens(failures_per_call):
    clock = Clock()
    budget = RetryBudget(clock=clock)
    for failures in failures_per_call:
        budget.pay_in()
        for _ in range(failures):
            budget.take()
    assert budget.counts.retries <= 10 + 0.1 * budget.counts.calls + 1e-6


def test_a_server_in_trouble_gets_few_extra_calls():
    clock = Clock()
    asked = core(clock)
    for _ in range(100):
        flow = asked.get_model(60.0)
        with pytest.raises(ServerUnavailable):
            play(flow, iter(lambda: ServerUnavailable("down", retry_after=0.0), None), clock)
    sent = asked.budget.counts.calls + asked.budget.counts.retries
    assert 110 <= sent <= 121
