"""Callers who give up or whose time is over, at every stage: their place is free at once, what has not begun never
begins, and the books balance."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from plaudit.reward import tokenizing
from plaudit.reward.backends.process import ModelProcess
from plaudit.reward.rendering import Rendering

from . import tiny_models
from .serving import DIGITS, Running, pb, scores, serving, text, until


class Valve:
    """Stands before a function: says what came in, and lets nothing through while it is shut."""

    def __init__(self) -> None:
        self.came: list[object] = []
        self.entered, self.open = threading.Event(), threading.Event()
        self.open.set()

    def before(self, function: Callable) -> Callable:
        def wrapped(owner: object, arguments: list) -> object:
            self.came += arguments
            self.entered.set()
            assert self.open.wait(10)
            return function(owner, arguments)

        return wrapped

    def shut(self) -> None:
        self.entered.clear()
        self.open.clear()

    async def holds_one(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.decoder(tmp_path_factory.mktemp("model"), Rendering(max_tokens=64))


@pytest.fixture
def tokenizer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Valve]:
    yield from installed(monkeypatch, tokenizing.TokenizerPool, "_render_all")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Valve]:
    yield from installed(monkeypatch, ModelProcess, "forward")


def installed(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> Iterator[Valve]:
    valve = Valve()
    monkeypatch.setattr(owner, name, valve.before(getattr(owner, name)))
    yield valve
    valve.open.set()


@asynccontextmanager
async def model(folder: Path) -> AsyncIterator[Running]:
    """One tokenizer, one device; ready, and nothing of loading counts."""
    async with serving({"name": "m", "model": str(folder)}, tokenizer_threads=1, threads=1) as running:
        yield running


def admitted(running: Running) -> tuple[int, float]:
    (admission,) = running.server.catalog.admissions()
    return admission.items, admission.cost


def ask(running: Running, *responses: str, model: str = "", **options: float) -> "grpc.aio.UnaryUnaryCall":
    return running.stub.Score(pb.ScoreRequest(model=model, items=[text("", one) for one in responses]), **options)


HOW = pytest.mark.parametrize(
    ("options", "ends_as"),
    [({}, grpc.StatusCode.CANCELLED), ({"timeout": 0.3}, grpc.StatusCode.DEADLINE_EXCEEDED)],
    ids=["cancelled", "deadline"],
)


async def give_up(call: "grpc.aio.UnaryUnaryCall", options: dict) -> grpc.StatusCode:
    """By hand, or by waiting for its deadline."""
    if not options:
        call.cancel()
    return await call.code()


@HOW
async def test_while_it_waits_for_a_tokenizer(folder: Path, tokenizer: Valve, device: Valve, options, ends_as):
    async with model(folder) as running:
        tokenizer.shut()
        first = ask(running, "first")
        await tokenizer.holds_one()
        gone = ask(running, "gone", **options)
        await until(lambda: admitted(running)[0] == 2)
        assert await give_up(gone, options) is ends_as
        await until(lambda: admitted(running)[0] == 1)
        tokenizer.open.set()
        assert len(scores(await first)) == 1
        assert [item.input.response for item in tokenizer.came] == ["first"]
        assert admitted(running) == (0, 0)


@HOW
async def test_while_it_is_tokenized(folder: Path, tokenizer: Valve, device: Valve, options, ends_as):
    async with model(folder) as running:
        tokenizer.shut()
        device.came.clear()
        gone = ask(running, "gone", **options)
        await tokenizer.holds_one()
        assert await give_up(gone, options) is ends_as
        await until(lambda: admitted(running) == (0, 0))
        tokenizer.open.set()
        await asyncio.sleep(0.1)
        assert device.came == []


@HOW
async def test_while_it_is_queued(folder: Path, device: Valve, options, ends_as):
    """Somebody else who asked for the same in the meantime still gets it."""
    async with model(folder) as running:
        device.shut()
        first = ask(running, "first")
        await device.holds_one()
        device.came.clear()
        gone, stays = ask(running, "gone", "same", **options), ask(running, "same")
        await until(lambda: admitted(running)[0] == 4)
        assert await give_up(gone, options) is ends_as
        await until(lambda: admitted(running)[0] == 2)
        device.open.set()
        assert len(scores(await first) + scores(await stays)) == 2
        assert len(device.came) == 1
        assert admitted(running) == (0, 0)


@HOW
async def test_while_it_runs(folder: Path, device: Valve, options, ends_as):
    """A forward cannot be called back, but it holds no place, and whoever comes next is answered."""
    async with model(folder) as running:
        device.shut()
        gone = ask(running, "gone", **options)
        await device.holds_one()
        assert await give_up(gone, options) is ends_as
        await until(lambda: admitted(running) == (0, 0))
        device.open.set()
        assert len(scores(await ask(running, "next"))) == 1


async def test_the_books_balance(tmp_path: Path, folder: Path, device: Valve):
    """Each request is counted once, under the code that its caller saw; each item of an answer by its outcome."""
    (tmp_path / "slow.py").write_text(
        "import time\ndef score(prompt, response):\n    time.sleep(float(response))\n    return 1.0\n"
    )
    slow = {"function": f"{tmp_path}/slow.py:score", "concurrency": 1, "max_queue_items": 4}
    models = DIGITS, {"name": "slow", "callable": slow}, {"name": "m", "model": str(folder)}
    async with serving(*models, limits={"max_items": 8}, threads=1) as running:
        calls = []
        for _ in range(30):
            calls += [
                ask(running, "1", "", "2", model="digits"),
                ask(running, model="digits"),
                ask(running, *"123456789", model="digits"),
                ask(running, "1", model="nobody"),
                ask(running, "0.05", model="slow"),
                running.stub.Score(pb.ScoreRequest(items=[text("", "1"), pb.ScoreItem()])),
            ]
        await asyncio.gather(*(call.code() for call in calls))
        device.shut()
        gone = [ask(running, "1", model="m", timeout=0.3) for _ in range(5)]
        gone += [ask(running, "2", model="m") for _ in range(5)]
        await until(lambda: inflight(running) == 10)  # what never arrived could not be counted
        for call in gone[5:]:
            call.cancel()
        calls += gone
        seen = Counter([(await call.code()).name for call in calls])
        await until(lambda: inflight(running) == 0)  # a caller's time is over a little before ours
        device.open.set()
        counted = samples(running, "plaudit_reward_requests_total", "code")
        items = samples(running, "plaudit_reward_items_total", "outcome")
        refused = samples(running, "plaudit_reward_rejected_total", "reason")
        waiting = [(one.items, one.cost) for one in running.server.catalog.admissions()]
    assert counted == seen
    assert set(seen) == {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"}
    assert items == {"ok": 30 * 4 + seen["OK"] - 60, "invalid_item": 30}
    assert refused == {
        "INVALID_REQUEST": 30,
        "BATCH_TOO_LARGE": 30,
        "MODEL_NOT_FOUND": 30,
        "QUEUE_FULL": seen["UNAVAILABLE"],
        "DEADLINE_UNREACHABLE": 0,
        **dict.fromkeys(("UNAUTHENTICATED", "PERMISSION_DENIED", "RATE_LIMITED"), 0),
    }
    assert waiting == [(0, 0)] * 3


def inflight(running: Running) -> float | None:
    return running.server.metrics.registry.get_sample_value("plaudit_reward_inflight_requests")


def samples(running: Running, name: str, label: str) -> Counter[str]:
    """A counter's values by one label."""
    found = Counter[str]()
    for family in running.server.metrics.registry.collect():
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels[label]] += int(sample.value)
    return found
