"""A call's way through admission, rendering, queue and device."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from plaudit.reward.batcher import Budget
from plaudit.reward.errors import (
    DeadlineExpired,
    DeadlineUnreachable,
    DeviceFailed,
    InvalidItem,
    QueueFull,
    QuotaExceeded,
    RequestError,
)
from plaudit.reward.gate.callers import Callers
from plaudit.reward.gate.settings import QuotaSettings
from plaudit.reward.items import Card, Deadline, Item, Outcome, Scored, Text, finite
from plaudit.reward.metrics import Metrics
from plaudit.reward.queued import QueuedModel, Ready, Work
from plaudit.reward.settings import LimitSettings

CARD = Card(name="m", version="1", weights_sha256="", dtype="float64")
FOREVER = Deadline()
QUOTA = {"tokens_per_second": 1, "burst_tokens": 20}


class Gate:
    """A device that scores by length and can be held."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        self.ran: list[str] = []

    def __call__(self, payloads: list[str]) -> list[float]:
        self.entered.set()
        self.open.wait(5)
        self.ran += payloads
        return [float(len(payload)) if payload != "nan" else float("nan") for payload in payloads]


async def prepare(items: Sequence[Item]) -> list[Ready[str] | RequestError]:
    texts = [item.input.response for item in items if isinstance(item.input, Text)]
    return [Ready(text, len(text)) if text else InvalidItem("input", "empty") for text in texts]


def conclude(ready: Ready[str], value: float, cached: bool) -> Outcome:
    return finite(Scored(value, value, cached=cached))


def items(*responses: str) -> list[Item]:
    return [Item(Text("", response), size=len(response)) for response in responses]


@pytest.fixture
async def gate():
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
async def model(gate: Gate):
    limits = LimitSettings(max_queue_tokens=100, max_queue_items=8)
    model = QueuedModel(CARD, Work(prepare, gate, conclude), limits, Metrics())
    yield model
    gate.open.set()
    model.close()


async def hold(model: QueuedModel[str, float], gate: Gate) -> asyncio.Future:
    call = asyncio.ensure_future(model.score(items("held"), FOREVER))
    await asyncio.to_thread(gate.entered.wait, 5)
    return call


async def test_outcomes_stand_where_their_items_stood(model: QueuedModel[str, float], gate: Gate):
    gate.open.set()
    answer = await model.score(items("aa", "", "nan", "bbb"), FOREVER)
    assert answer.outcomes[0] == Scored(2, 2)
    assert isinstance(answer.outcomes[1], InvalidItem)
    assert type(answer.outcomes[2]).__name__ == "NonfiniteScore"
    assert answer.outcomes[3] == Scored(3, 3)
    assert answer.durations.forward > 0


async def test_a_server_that_has_just_begun_lets_in_no_more_than_it_can_do(gate: Gate):
    """Its rate is that of the batches that were measured when it loaded."""
    budget = Budget(100, seconds=50)
    model = QueuedModel(CARD, Work(prepare, gate, conclude), LimitSettings(), Metrics(), budget=budget)
    held = await hold(model, gate)
    assert model.admission.drain_seconds() == pytest.approx(len("held") / 2)
    with pytest.raises(DeadlineUnreachable):
        await model.score(items("much longer"), Deadline.within(3))
    gate.open.set()
    await held
    model.close()


async def test_overload_is_refused_and_the_place_comes_back(model: QueuedModel[str, float], gate: Gate):
    held = await hold(model, gate)
    waiting = asyncio.ensure_future(model.score(items(*"abcdefg"), FOREVER))
    await asyncio.sleep(0.05)
    with pytest.raises(QueueFull):
        await model.score(items("x"), FOREVER)
    gate.open.set()
    await asyncio.gather(held, waiting)
    assert (model.admission.items, model.admission.cost) == (0, 0)
    assert (await model.score(items("x"), FOREVER)).outcomes == [Scored(1, 1)]


async def test_a_cancelled_call_frees_its_place_and_is_not_run(model: QueuedModel[str, float], gate: Gate):
    held = await hold(model, gate)
    gone = asyncio.ensure_future(model.score(items("gone"), FOREVER))
    await asyncio.sleep(0.05)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert model.admission.items == 1
    gate.open.set()
    await held
    await model.score(items("next"), FOREVER)
    assert gate.ran == ["held", "next"]


async def test_a_call_past_its_deadline_fails_whole_and_is_not_run(model: QueuedModel[str, float], gate: Gate):
    held = await hold(model, gate)
    late = asyncio.ensure_future(model.score(items("late"), Deadline.within(0.05)))
    await asyncio.sleep(0.1)
    gate.open.set()
    await held
    with pytest.raises(DeadlineExpired):
        await late
    assert gate.ran == ["held"]


async def test_admission_learns_how_many_tokens_a_byte_is(model: QueuedModel[str, float], gate: Gate):
    gate.open.set()
    for _ in range(60):
        await model.score(items("abcdefgh"), FOREVER)
    assert model.tokens_per_byte == pytest.approx(1.0, abs=0.1)


async def test_items_that_cannot_be_rendered_teach_it_nothing(model: QueuedModel[str, float], gate: Gate):
    gate.open.set()
    for _ in range(60):
        await model.score([Item(Text("", ""), size=1000)], FOREVER)
    assert model.tokens_per_byte == pytest.approx(0.3)


async def test_a_device_that_fails_is_the_items_status(gate: Gate):
    def broken(payloads: list[str]) -> list[float]:
        raise RuntimeError

    model = QueuedModel(CARD, Work(prepare, broken, conclude), LimitSettings(), Metrics())
    assert isinstance((await model.score(items("a"), FOREVER)).outcomes[0], DeviceFailed)
    model.close()


async def test_clients_take_turns_and_each_has_its_quota(gate: Gate):
    limits, callers = LimitSettings(max_queue_tokens=100), Callers(QuotaSettings(**QUOTA))
    model = QueuedModel(CARD, Work(prepare, gate, conclude), limits, Metrics(), budget=Budget(1))

    async def ask(who: str, *responses: str) -> None:
        callers.arrived(None, who, "")
        await model.score(items(*responses), FOREVER)

    held = asyncio.create_task(ask("third", "held"))
    await asyncio.to_thread(gate.entered.wait, 5)
    calls = [asyncio.create_task(ask("flood", *(f"f{number}" for number in range(8))))]
    await asyncio.sleep(0.05)
    calls += [asyncio.create_task(ask("polite", "p0", "p1"))]
    await asyncio.sleep(0.05)
    gate.open.set()
    await asyncio.gather(held, *calls)
    assert gate.ran[1:5] == ["f0", "p0", "f1", "p1"]
    with pytest.raises(QuotaExceeded) as caught:
        await ask("flood", "x" * 20)
    estimate = 20 * model.tokens_per_byte
    assert caught.value.retry_after == pytest.approx(estimate - (20 - 16), abs=1)  # 16 were taken, as they were counted
    model.close()
