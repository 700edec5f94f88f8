"""Clients take turns by what their work costs: the queue against a slow one, and a flood against somebody polite."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.reward.admission import Admission
from plaudit.reward.batcher import Batcher, Budget
from plaudit.reward.errors import DeadlineUnreachable, QueueFull
from plaudit.reward.fair import KEPT, FairQueue
from plaudit.reward.items import Deadline

FOREVER = Deadline()
COSTS = st.integers(1, 20)
WORK = st.lists(st.tuples(st.sampled_from("abc"), COSTS), min_size=1, max_size=60)
STEPS = st.lists(st.one_of(st.tuples(st.sampled_from("abcd"), COSTS), st.none()), max_size=80)


class Entry(NamedTuple):
    client: str
    cost: float
    number: int = 0


class Slow:
    """As the paper says it: each entry has its start and its finish when it comes, and all are looked at each time."""

    def __init__(self) -> None:
        self.now, self.came = 0.0, 0
        self.all: list[tuple[float, int, float, Entry]] = []  # start, when its client came, finish; served ones too
        self.waiting: list[tuple[float, int, float, Entry]] = []

    def put(self, entry: Entry) -> None:
        before = [finish for _, _, finish, other in self.all if other.client == entry.client]
        since = [came for _, came, _, other in self.waiting if other.client == entry.client]
        self.came += not since
        start = max(self.now, max(before, default=0.0))
        one = (start, since[0] if since else self.came, start + entry.cost, entry)
        self.all.append(one)
        self.waiting.append(one)

    def take(self) -> Entry:
        best = self.waiting[0]
        for one in self.waiting:
            if one[:2] < best[:2]:
                best = one
        self.waiting.remove(best)
        self.now = best[0]
        return best[3]


@given(STEPS)
def test_turns_are_those_of_the_slow_queue(steps):
    fast, slow = FairQueue(), Slow()
    for number, step in enumerate(steps):
        if step is not None:
            entry = Entry(*step, number)
            fast.put(entry.client, [entry])
            slow.put(entry)
        elif len(fast):
            window = fast.take(5)  # as a batch that has room for one: the others keep their turns
            fast.put_back(window[1:])
            assert window[0] == slow.take()
        assert len(fast) == len(slow.waiting)
    assert fast.take(1000) == [slow.take() for _ in range(len(slow.waiting))]


@given(WORK)
def test_of_two_that_wait_all_the_time_neither_is_ahead_by_more_than_the_largest_of_each(work):
    queue, left = FairQueue(), {name: [cost for client, cost in work if client == name] for name in "abc"}
    for client, cost in work:
        queue.put(client, [Entry(client, cost)])
    largest = {name: max(costs, default=0) for name, costs in left.items()}
    served = dict.fromkeys("abc", 0)
    while len(queue):
        (entry,) = queue.take(1)
        waiting = [name for name in "abc" if left[name]]
        for one, other in itertools.combinations(waiting, 2):
            assert abs(served[one] - served[other]) <= largest[one] + largest[other]
        left[entry.client].remove(entry.cost)
        served[entry.client] += entry.cost


@given(st.lists(COSTS, max_size=50))
def test_one_client_alone_is_first_come_first_served(costs):
    queue = FairQueue()
    for number, cost in enumerate(costs):
        queue.put("alone", [Entry("alone", cost, number)])
        queue.put_back(queue.take(3))
    assert [entry.number for entry in queue.take(1000)] == list(range(len(costs)))


def test_dropped_work_takes_nobodys_turn():
    queue, first, second, third = FairQueue(), Entry("b", 10, 1), Entry("a", 10, 2), Entry("b", 10, 3)
    queue.put("a", [Entry("a", 10)] * 100)
    queue.give_back(queue.take(100))
    queue.put("b", [first, third])
    queue.put("a", [second])
    assert queue.take(3) == [first, second, third]


def test_what_comes_while_a_batch_is_chosen_comes_after_what_is_put_back():
    queue, old, new = FairQueue(), [Entry("a", 5, number) for number in range(4)], Entry("a", 5, 9)
    queue.put("a", old)
    window = queue.take(4)
    queue.put("a", [new])
    queue.put("b", [Entry("b", 5)])
    queue.put_back(window[1:])
    assert queue.take(9) == [Entry("b", 5), *old[1:], new]


def test_clients_that_are_gone_are_forgotten():
    queue = FairQueue()
    for number in range(10_000):
        queue.put(f"client {number}", [Entry(f"client {number}", 1)])
        queue.take(1)
    assert len(queue._lines) <= KEPT


class Device:
    """Takes a tenth of a millisecond for each token; remembers whose work it ran, in order."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(self, payloads: list[str]) -> list[float]:
        self.ran += [payload.partition(" ")[0] for payload in payloads]
        time.sleep(1e-4 * sum(map(len, payloads)))
        return [1.0] * len(payloads)


async def polite(batcher: Batcher[str, float], calls: int) -> list[float]:
    """One item at a time, a pause after each; how long each took."""
    seconds = []
    for number in range(calls):
        began = time.monotonic()
        await batcher.submit([f"polite {number:093d}"], [100], FOREVER, "polite")
        seconds.append(time.monotonic() - began)
        await asyncio.sleep(0.02)
    return seconds


async def measured(flood: str | None, calls: int = 12) -> float:
    """The polite one's median, while `flood` has 1000 items of 100 tokens, 10 s of work, in the queue all the time."""
    batcher = Batcher("test", Device(), Budget(400), loop=asyncio.get_running_loop())
    items = [f"flood {number:094d}" for number in range(1000)]
    flooding = asyncio.create_task(batcher.submit(items, [100] * 1000, FOREVER, flood)) if flood else None
    await asyncio.sleep(0.05)
    seconds = await polite(batcher, calls)
    if flooding:
        assert not flooding.done()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
    await asyncio.to_thread(batcher.close)
    return median(seconds)


async def test_a_flood_makes_somebody_polite_wait_for_a_batch_and_no_longer():
    alone, fair = await measured(None), await measured("flood")
    batch = 0.04
    assert fair < alone + 2.5 * batch  # the one under way, and its own, which others fill up


async def test_without_turns_it_would_wait_for_all_of_the_flood():
    with pytest.raises(TimeoutError):  # the same, with both under one name
        await asyncio.wait_for(measured("polite", calls=1), 1.0)


async def test_who_has_less_than_its_share_is_let_into_a_queue_that_somebody_else_filled():
    queue = Admission(max_items=100, max_cost=100)
    with queue.admit(10, 100, FOREVER, "flood"):
        for who, cost in (("flood", 1), ("polite", 51)):
            with pytest.raises(QueueFull), queue.admit(1, cost, FOREVER, who):
                pass
        with queue.admit(1, 50, FOREVER, "polite"), queue.admit(1, 33, FOREVER, "third"):
            with pytest.raises(QueueFull), queue.admit(1, 1, FOREVER, "flood"):
                pass
            with pytest.raises(QueueFull), queue.admit(1, 24, FOREVER, "fourth"):  # twice the queue is the last
                pass
    assert (queue.items, queue.cost, queue._holdings) == (0, 0, {})


async def test_a_deadline_is_out_of_reach_by_ones_own_work_not_by_others():
    queue = Admission(max_items=100, max_cost=1000)
    queue.measured(cost=10, seconds=1)
    with queue.admit(10, 900, FOREVER, "flood"):  # 90 s
        with pytest.raises(DeadlineUnreachable), queue.admit(1, 10, Deadline.within(30), "flood"):
            pass
        with queue.admit(1, 10, Deadline.within(30), "polite"):
            pass
        with pytest.raises(DeadlineUnreachable), queue.admit(1, 200, Deadline.within(30), "polite"):
            pass


HELD = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.integers(1, 400)), max_size=30)


@given(HELD)
def test_the_books_of_admission_are_those_of_a_list(calls: Sequence[tuple[str, int, int]]):
    """The slow one sums up what is held each time."""
    queue, held = Admission(100, 1000), deque()
    for client, items, cost in calls:
        own = [one for one in held if one[0] == client]
        total_items, total_cost = (sum(one[at] for one in held) for at in (1, 2))
        clients = len({one[0] for one in held} | {client})
        over = total_items + items > 100 or total_cost + cost > 1000
        share = clients * (sum(one[1] for one in own) + items) <= 100
        share = share and clients * (sum(one[2] for one in own) + cost) <= 1000
        last = total_items + items <= 200 and total_cost + cost <= 2000
        expected = not held or not over or (share and last)
        place = queue.admit(items, cost, FOREVER, client)
        try:
            place.__enter__()
        except QueueFull:
            assert not expected
        else:
            assert expected
            held.append((client, items, cost, place))
        if len(held) > 6:
            held.popleft()[3].__exit__(None, None, None)
        assert (queue.items, queue.cost) == (sum(one[1] for one in held), sum(one[2] for one in held))
    while held:
        held.popleft()[3].__exit__(None, None, None)
    assert queue._holdings == {}
