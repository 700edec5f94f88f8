"""How a client ends: at once, or when what is under way has ended. Both clients against a real server on loopback."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from plaudit_client import ClientClosed, ModelLimits, RetryPolicy, ScoreItem, TextPair
from plaudit_client.fake import MODEL, FakeRewardServer

from .drivers import DRIVERS, connected

pytestmark = pytest.mark.parametrize("driver", DRIVERS)

ONE_BY_ONE = type(MODEL)(MODEL.name, "one by one", MODEL.provenance, ModelLimits(max_items=1))
ITEMS = [ScoreItem(TextPair("p", "r"))]


class Gate:
    """A model that answers when it is let: `begun` once it was asked, then it waits."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, item: ScoreItem) -> float:
        self.begun.set()
        assert self.open.wait(20)
        return float(item.item_id or 7)


def began(thread: ThreadPoolExecutor, gate: Gate, call: Callable[[], object]) -> "Future[object]":
    asked = thread.submit(call)
    assert gate.begun.wait(10)
    return asked


def seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


@contextmanager
def under_way(driver):
    """A client, and its call that is not answered before the block ends."""
    gate = Gate()
    with (
        FakeRewardServer(gate) as server,
        ThreadPoolExecutor() as thread,
        connected(driver, server.address) as client,
    ):
        yield client, began(thread, gate, lambda: client.score(ITEMS))
        gate.open.set()


def test_a_closed_client_says_so(driver):
    with FakeRewardServer(lambda item: 1.0) as server, connected(driver, server.address) as client:
        client.score(ITEMS)
        client.shut()
        with pytest.raises(ClientClosed, match="the reward client is closed"):
            client.score(ITEMS)


def test_closing_ends_a_call_under_way_at_once(driver):
    with under_way(driver) as (client, asked):
        assert seconds(client.shut) < 2
        with pytest.raises(ClientClosed):
            asked.result(2)


def test_closing_ends_the_wait_for_another_try_at_once(driver):
    with (
        FakeRewardServer(lambda item: 1.0) as server,
        ThreadPoolExecutor() as thread,
        connected(driver, server.address, retry=RetryPolicy(first_delay=20, max_delay=20)) as client,
    ):
        server.unavailable(calls=1)
        asked = thread.submit(client.score, ITEMS)
        while not server.refused:
            time.sleep(0.01)
        time.sleep(0.2)  # the refusal arrives, the wait begins
        client.shut()
        with pytest.raises(ClientClosed):
            asked.result(2)


def test_with_grace_what_is_under_way_ends_in_all_its_requests_and_retries_and_nothing_new_begins(driver):
    """Ten items, one a request and four at a time: when the client closes, six requests have not been sent."""
    gate, items = Gate(), [ScoreItem(TextPair("p", "r"), item_id=str(n)) for n in range(10)]
    with (
        FakeRewardServer(gate, model=ONE_BY_ONE) as server,
        ThreadPoolExecutor() as thread,
        connected(driver, server.address) as client,
    ):
        asked = began(thread, gate, lambda: client.score(items))
        closing = thread.submit(client.shut, 20)
        while not refuses(client):
            time.sleep(0.01)
        assert not closing.done()
        server.unavailable(calls=2, retry_after=0.01)
        gate.open.set()
        assert [result.value for result in asked.result(10)] == list(range(10))
        closing.result(2)
        assert client.counts.retries == 2


def test_grace_is_a_bound(driver):
    with under_way(driver) as (client, asked):
        assert 0.5 <= seconds(lambda: client.shut(0.5)) < 3
        with pytest.raises(ClientClosed):
            asked.result(2)


def test_closing_at_once_overrules_a_grace_that_somebody_gave(driver):
    gate = Gate()
    with (
        FakeRewardServer(gate) as server,
        ThreadPoolExecutor() as thread,
        connected(driver, server.address) as client,
    ):
        asked = began(thread, gate, lambda: client.score(ITEMS))
        closing = thread.submit(client.shut, 20)
        while not refuses(client):
            time.sleep(0.01)
        client.shut()
        with pytest.raises(ClientClosed):
            asked.result(2)
        closing.result(2)
        gate.open.set()


def test_with_nothing_under_way_grace_costs_no_time(driver):
    with FakeRewardServer(lambda item: 1.0) as server, connected(driver, server.address) as client:
        client.score(ITEMS)
        assert seconds(lambda: client.shut(20)) < 2
    with connected(driver, "127.0.0.1:1") as client:  # one that never asked
        assert seconds(lambda: client.shut(20)) < 2


def refuses(client) -> bool:
    try:
        client.score([])  # asks nobody
    except ClientClosed:
        return True
    return False
