"""Both clients against real servers on loopback."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from plaudit_client import (
    Conversation,
    DeadlineExceeded,
    Message,
    ModelLimits,
    ModelNotFound,
    Overloaded,
    RequestTooLarge,
    RetryPolicy,
    Score,
    ScoreFailure,
    ScoreItem,
    ServerUnavailable,
    TextPair,
    TokenPair,
)
from plaudit_client.fake import MODEL, FakeRewardServer

from .drivers import DRIVERS, connected

pytestmark = pytest.mark.parametrize("driver", DRIVERS)

SMALL = type(MODEL)(MODEL.name, "small", MODEL.provenance, ModelLimits(max_items=3, max_request_bytes=200))


def pairs(*lengths: int) -> list[ScoreItem]:
    return [ScoreItem(TextPair("p", "r" * n), item_id=str(n)) for n in lengths]


def length(item: ScoreItem) -> float:
    return float(len(item.input.response))


def test_scores_come_in_order_with_their_provenance(driver):
    with FakeRewardServer(length) as server, connected(driver, server.address) as client:
        results = client.score(pairs(5, 0, 3))
    assert results == [Score(n, n, 0, False, 0, item_id=str(n), model=MODEL.provenance) for n in (5, 0, 3)]


def test_the_server_gets_what_the_caller_gave(driver):
    items = [
        ScoreItem(TextPair(" p\n", "e\u0301 and \u00e9 stay two"), "a", "length"),
        ScoreItem(Conversation((Message("user", "hi"), Message("assistant", "ho"))), "b", "stop"),
        ScoreItem(TokenPair((1, 2), (3,), "ab" * 32), "c"),
    ]
    with FakeRewardServer(lambda item: 0.0) as server, connected(driver, server.address) as client:
        client.score(items)
        assert server.requests == [tuple(items)]


def test_a_batch_is_split_by_the_limits_and_put_together_again(driver):
    items = pairs(*range(20), 150, *range(20, 40))
    with FakeRewardServer(length, model=SMALL) as server, connected(driver, server.address) as client:
        results = client.score(items)
        assert [result.value for result in results] == [length(item) for item in items]
        assert sorted(map(len, server.requests))[-1] == 3
        assert len(server.requests) >= 41 / 3


def test_items_fail_alone(driver):
    def score(item: ScoreItem) -> float | ScoreFailure:
        return ScoreFailure("", "NONFINITE_SCORE", "it was NaN", "INTERNAL") if item.item_id == "1" else length(item)

    with FakeRewardServer(score, model=SMALL) as server, connected(driver, server.address) as client:
        first, failed, too_large, last = client.score(pairs(0, 1, 300, 2))
    assert failed == ScoreFailure("1", "NONFINITE_SCORE", "it was NaN", "INTERNAL")
    assert (too_large.item_id, too_large.reason) == ("300", "INPUT_TOO_LONG")
    assert (first.value, last.value) == (0.0, 2.0)


def test_an_item_whose_scoring_broke_fails_alone(driver):
    with FakeRewardServer(lambda item: 1 / length(item)) as server, connected(driver, server.address) as client:
        broken, fine = client.score(pairs(0, 2))
    assert (broken.reason, broken.code) == ("INTERNAL", "INTERNAL")
    assert fine.value == 0.5


def test_nothing_to_score_asks_nobody(driver):
    with connected(driver, "127.0.0.1:1") as client:
        assert client.score([]) == []


def test_the_model_is_asked_for_once(driver):
    with FakeRewardServer(length) as server, connected(driver, server.address) as client:
        for _ in range(3):
            client.score(pairs(1))
        assert client.counts.calls == 1 + 3


def test_a_server_in_trouble_is_asked_again_after_the_time_it_named(driver):
    with FakeRewardServer(length) as server, connected(driver, server.address) as client:
        client.get_model()
        server.unavailable(calls=3, retry_after=0.1)
        began = time.monotonic()
        assert client.score(pairs(1))[0].value == 1.0
        assert 0.3 <= time.monotonic() - began < 3
        assert (server.refused, client.counts.retries) == (3, 3)


def test_the_last_refusal_is_raised_when_attempts_run_out(driver):
    with (
        FakeRewardServer(length) as server,
        connected(driver, server.address, retry=RetryPolicy(max_attempts=2, first_delay=0.01)) as client,
    ):
        server.unavailable(calls=100, retry_after=0.01)
        with pytest.raises(Overloaded, match="told to be unavailable") as raised:
            client.score(pairs(1))
        assert raised.value.reason == "QUEUE_FULL"
        assert raised.value.retry_after == pytest.approx(0.01)
        assert server.refused == 2


def test_the_deadline_bounds_a_slow_server(driver):
    over = threading.Event()
    with FakeRewardServer(lambda item: float(over.wait(10))) as server, connected(driver, server.address) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.score(pairs(1), timeout=0.3)
        assert time.monotonic() - began < 2
        over.set()


def test_the_deadline_bounds_the_retries(driver):
    with FakeRewardServer(length) as server, connected(driver, server.address, timeout=0.5) as client:
        server.unavailable(calls=100)
        began = time.monotonic()
        with pytest.raises(Overloaded):
            client.score(pairs(1))
        assert time.monotonic() - began < 2  # eight attempts would take longer


class Timed(FakeRewardServer):
    """Notes when each scoring call, the refused ones too, would have to be answered."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.deadlines = []

    def Score(self, request, context):  # noqa: N802
        self.deadlines.append(time.monotonic() + context.time_remaining())
        return super().Score(request, context)


def test_every_request_and_retry_carries_the_deadline_of_the_whole_call(driver):
    def slow(item: ScoreItem) -> float:
        time.sleep(0.1)
        return 1.0

    with Timed(slow, model=SMALL) as server, connected(driver, server.address) as client:
        client.get_model()
        server.unavailable(calls=3, retry_after=0.1)
        began = time.monotonic()
        client.score(pairs(*range(24)), timeout=3)
        assert time.monotonic() - began > 0.35  # a deadline of each request's own would lie later by as much
        assert len(server.deadlines) >= 8 + 3
        # gRPC writes a timeout as the one before where it is within 3 % of it, to say it in one byte.
        assert all(-0.1 < deadline - (began + 3) < 0.2 for deadline in server.deadlines)


def test_a_request_that_waits_for_its_turn_has_what_is_left_of_its_time(driver, monkeypatch):
    for module in ("client", "aio"):
        monkeypatch.setattr(f"plaudit_client.{module}.MOST_AT_ONCE", 1)
    begun, over = threading.Event(), threading.Event()

    def score(item: ScoreItem) -> float:
        begun.set()
        return float(over.wait(10))

    with (
        Timed(score) as server,
        ThreadPoolExecutor() as threads,
        connected(driver, server.address) as client,
    ):
        client.get_model()
        first = threads.submit(client.score, pairs(1))
        assert begun.wait(10)
        with pytest.raises(DeadlineExceeded, match="before the call was made"):
            client.score(pairs(1), timeout=0.3)
        began = time.monotonic()
        second = threads.submit(client.score, pairs(1), timeout=3)
        time.sleep(0.5)
        over.set()
        assert [first.result(5)[0].value, second.result(5)[0].value] == [1.0, 1.0]
        assert -0.1 < server.deadlines[-1] - (began + 3) < 0.2  # 0.5 s of the three went by in the client


def test_readiness_is_waited_for(driver):
    with FakeRewardServer(length) as server, connected(driver, server.address) as client:
        server.unavailable(calls=3, reason="MODEL_LOADING")
        assert client.wait_until_ready(10) == MODEL
        assert server.refused == 3


def test_a_server_that_comes_up_later_is_found(driver):
    with FakeRewardServer(length) as server:
        port = int(server.address.rpartition(":")[2])
    with connected(driver, f"127.0.0.1:{port}") as client:
        with pytest.raises(ServerUnavailable, match=rf"not ready after 0\.3 s: reward server 127.0.0.1:{port}: "):
            client.wait_until_ready(0.3)
        with FakeRewardServer(length, port=port):
            client.wait_until_ready(10)
            assert client.score(pairs(4))[0].value == 4.0


def test_a_server_that_restarts_costs_no_request(driver):
    server = FakeRewardServer(length)
    with connected(driver, server.address) as client:
        assert client.score(pairs(1))[0].value == 1.0
        server.close()
        with FakeRewardServer(lambda item: 7.0, port=int(server.address.rpartition(":")[2])):
            assert client.score(pairs(1))[0].value == 7.0


def test_models_are_asked_for_by_name(driver):
    with FakeRewardServer(length) as server:
        with connected(driver, server.address, model="models/fake") as client:
            assert client.get_model().name == "models/fake/versions/1"
            assert client.score(pairs(1))[0].value == 1.0
        with connected(driver, server.address, model="models/other") as client:
            with pytest.raises(ModelNotFound, match="no model 'models/other'"):
                client.score(pairs(1))
            with pytest.raises(ModelNotFound):
                client.wait_until_ready(10)


def test_limits_are_read_anew_when_the_server_finds_a_request_too_large(driver):
    with FakeRewardServer(length) as server, connected(driver, server.address) as client:
        client.get_model()
        server.model = SMALL
        with pytest.raises(RequestTooLarge) as raised:
            client.score(pairs(1, 2, 3, 4))
        assert raised.value.reason == "BATCH_TOO_LARGE"
        assert len(client.score(pairs(1, 2, 3, 4))) == 4


def test_one_request_that_fails_fails_the_call(driver):
    once = RetryPolicy(max_attempts=1)
    with FakeRewardServer(length, model=SMALL) as server, connected(driver, server.address, retry=once) as client:
        client.get_model()
        server.unavailable(calls=1)
        with pytest.raises(Overloaded):
            client.score(pairs(*range(12)))
        assert [result.value for result in client.score(pairs(*range(12)))] == list(map(float, range(12)))
