import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.reward.batcher import Batcher, Budget, OutOfMemory, choose
from plaudit.reward.errors import DeadlineExpired, DeviceFailed
from plaudit.reward.items import Deadline

FOREVER = Deadline()


class Device:
    """Gives length back; can be held, and remembers what it ran."""

    def __init__(self, memory: float = float("inf")) -> None:
        self.batches: list[list[str]] = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()
        self.memory = memory
        self.too_large = ""

    def __call__(self, payloads: list[str]) -> list[float]:
        self.batches.append(payloads)
        self.entered.set()
        self.free.wait(5)
        if len(payloads) > self.memory or self.too_large in payloads:
            raise OutOfMemory
        if "poison" in payloads:
            raise RuntimeError("the device does not like this")
        return [float(len(payload)) for payload in payloads]


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device()
    yield device
    device.free.set()


def batcher(device: Device, max_cost: float = 100) -> Batcher[str, float]:
    return Batcher("test", device, Budget(max_cost), loop=asyncio.get_running_loop())


async def submit(on: Batcher[str, float], *payloads: str, deadline: Deadline = FOREVER):
    return (await on.submit(payloads, [max(1, len(payload)) for payload in payloads], deadline)).values


async def hold(device: Device, on: Batcher[str, float]) -> "asyncio.Task[list[float]]":
    """Keeps the device busy with one item until `device.free` is set."""
    device.free.clear()
    task = asyncio.create_task(submit(on, "held"))
    await asyncio.to_thread(device.entered.wait, 5)
    return task


async def test_results_come_in_the_order_asked(device: Device):
    on = batcher(device, max_cost=8)
    assert await submit(on, "aaaa", "b", "ccc", "dd") == [4, 1, 3, 2]
    on.close()


async def test_work_piles_up_while_the_device_is_busy_and_runs_together(device: Device):
    on = batcher(device)
    held = await hold(device, on)
    callers = [asyncio.create_task(submit(on, f"caller {number}")) for number in range(8)]
    await asyncio.sleep(0.05)
    device.free.set()
    await asyncio.gather(held, *callers)
    assert [len(batch) for batch in device.batches] == [1, 8]
    on.close()


async def test_an_idle_device_does_not_wait_for_more(device: Device):
    on = batcher(device)
    await submit(on, "a")
    await submit(on, "b")
    assert device.batches == [["a"], ["b"]]
    on.close()


async def test_duplicates_run_once(device: Device):
    on = batcher(device)
    held = await hold(device, on)
    same = [asyncio.create_task(submit(on, "same", "same")) for _ in range(3)]
    await asyncio.sleep(0.05)
    device.free.set()
    assert await asyncio.gather(held, *same) == [[4], [4, 4], [4, 4], [4, 4]]
    assert device.batches == [["held"], ["same"]]
    on.close()


async def test_what_is_past_its_deadline_is_not_run(device: Device):
    on = batcher(device)
    held = await hold(device, on)
    late = asyncio.create_task(submit(on, "late", deadline=Deadline.within(0.05)))
    timely = asyncio.create_task(submit(on, "timely", deadline=Deadline.within(30)))
    await asyncio.sleep(0.1)
    device.free.set()
    await held
    assert isinstance((await late)[0], DeadlineExpired)
    assert await timely == [6]
    assert device.batches == [["held"], ["timely"]]
    on.close()


async def test_cancelled_work_leaves_the_queue(device: Device):
    on = batcher(device)
    held = await hold(device, on)
    gone = asyncio.create_task(submit(on, "gone"))
    await asyncio.sleep(0.05)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    device.free.set()
    await held
    await submit(on, "next")
    assert device.batches == [["held"], ["next"]]
    on.close()


async def test_poison_fails_alone(device: Device, caplog: pytest.LogCaptureFixture):
    on = batcher(device)
    found = await submit(on, "a", "bb", "poison", "dddd", "eeeee")
    assert isinstance(found[2], DeviceFailed)
    assert found[:2] + found[3:] == [1, 2, 4, 5]
    assert "does not like" not in str(found[2])
    assert "failed on the device" in caplog.text
    on.close()


@pytest.mark.parametrize("memory", [2, 1])
async def test_out_of_memory_makes_batches_half_of_what_did_not_fit(memory: int):
    device = Device(memory)
    on = batcher(device)
    assert await submit(on, *"abcdefgh") == [1] * 8
    device.batches.clear()
    await submit(on, *"ijklm")
    assert max(map(len, device.batches)) == memory
    on.close()


async def test_an_item_too_large_alone_fails_and_leaves_the_others_their_batches():
    device = Device(memory=4)
    on = batcher(device)
    device.too_large = "giant"
    for _ in range(5):
        (found,) = await submit(on, "giant")
        assert isinstance(found, DeviceFailed)
    device.batches.clear()
    await submit(on, *"abcd")
    assert [len(batch) for batch in device.batches] == [4]
    on.close()


async def test_a_thread_that_stands_still_does_not_beat(device: Device):
    on = batcher(device)
    assert on.beating(patience=5)
    held = await hold(device, on)
    await asyncio.sleep(0.1)
    assert not on.beating(patience=0.05)
    device.free.set()
    await held
    on.close()
    assert not on.beating(patience=5)


WORK = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), min_size=1, max_size=30)


@given(WORK, st.integers(1, 120), st.integers(0, 60), st.integers(1, 8) | st.just(float("inf")))
def test_a_batch_keeps_its_budget_and_never_passes_over_the_oldest(work, cost, waste, items):
    waiting = [((payload, cost), float(cost)) for payload, cost in work]
    chosen = choose(waiting, Budget(cost, waste, items))
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen)
    distinct = {waiting[index][0] for index in chosen}
    if len(distinct) > 1:
        padded = max(cost for _, cost in distinct) * len(distinct)
        assert padded <= cost
        assert padded - sum(cost for _, cost in distinct) <= waste
        assert len(distinct) <= items
    left = [waiting[index][0] for index in set(range(len(waiting))) - set(chosen)]
    assert not distinct & set(left)  # duplicates ride along
    if max(cost for _, cost in work) * len(work) <= min(cost, waste) and items == float("inf"):
        assert len(chosen) == len(waiting)


def test_neighbours_in_length_go_together():
    waiting = [("a", 10.0), ("b", 90.0), ("c", 11.0), ("d", 9.0), ("e", 100.0)]
    assert sorted(choose(waiting, Budget(40))) == [0, 2, 3]


def test_no_more_is_padded_than_a_batch_of_its_own_would_cost():
    waiting = [("a", 10.0), ("b", 12.0), ("c", 30.0), ("d", 10.0)]
    assert sorted(choose(waiting, Budget(1000, waste=4))) == [0, 1, 3]
    assert sorted(choose(waiting, Budget(1000, waste=3))) == [0, 3]
