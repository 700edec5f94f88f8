"""Waiting for people: nobody at the desk, callers who give up, servers that die, a database that is away."""

import asyncio
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest
from google.rpc.code_pb2 import Code
from sqlalchemy import Engine, event

from plaudit.reward import connections
from plaudit.reward.backends import desk as backend
from plaudit.reward.backends import human
from plaudit.reward.errors import DeadlineExpired
from plaudit.reward.items import Deadline, Item, Text

from .people import Desk, at_the_desk
from .serving import Running, failure, pb, scores, serving, text, until
from .test_human import people, reasons, url, waiting
from .test_lifecycle import health


async def shown(desk: Desk, response: str) -> None:
    """Until a person is asked it, which leaves it on that person's screen."""
    person = desk.sign_in("Ada")
    await until(lambda: (asked := desk.store.next(person)) is not None and asked.task.answers[0].text == response)


def asked(folder: Path) -> set[str]:
    """What people would be shown."""
    with sqlite3.connect(folder / "judgements.db") as database:
        return {answers for (answers,) in database.execute("SELECT json_extract(answers, '$[0].text') FROM tasks")}


def ask(running: Running, *responses: str, **options: float) -> "grpc.aio.UnaryUnaryCall":
    return running.stub.Score(pb.ScoreRequest(items=[text("p", one) for one in responses]), **options)


@pytest.mark.parametrize(
    ("options", "code"),
    [({}, grpc.StatusCode.CANCELLED), ({"timeout": 1.0}, grpc.StatusCode.DEADLINE_EXCEEDED)],
    ids=["cancelled", "deadline"],
)
async def test_who_gives_up_gets_no_number_and_nobody_is_asked_for_nobody(tmp_path: Path, options, code):
    """But what somebody is at stays on the screen, and when it is said, whoever asks again has it at once."""
    async with serving(people(tmp_path)) as running:
        desk = Desk(url(tmp_path))
        call = ask(running, "xx", **options)
        await shown(desk, "xx")
        both = ask(running, "xx", "x", **options)
        await until(lambda: asked(tmp_path) == {"xx", "x"})
        for one in (call, both) if not options else ():
            one.cancel()
        assert [await one.code() for one in (call, both)] == [code] * 2
        await until(lambda: asked(tmp_path) == {"xx"})
        assert waiting(running) == 0
        assert desk.judge(desk.sign_in("Ada"))
        again = await asyncio.wait_for(running.score(text("p", "xx")), 1)
    assert (scores(again), again.results[0].score.cache_hit) == ([0], True)


async def test_what_is_given_up_may_stay(tmp_path: Path):
    async with serving(people(tmp_path, withdraw=False)) as running:
        call = ask(running, "xx")
        await until(lambda: asked(tmp_path) == {"xx"})
        call.cancel()
        await asyncio.sleep(1)
        assert asked(tmp_path) == {"xx"}


async def test_what_nobody_gets_to_has_no_number_and_the_rest_has(tmp_path: Path):
    """The model's own time is over before the caller's: what is judged by then is told."""
    async with serving(people(tmp_path, timeout=1.5)) as running:
        desk = Desk(url(tmp_path))
        call = asyncio.ensure_future(running.score(text("p", "x"), text("p", "xx"), timeout=30))
        person = desk.sign_in("Ada")
        await until(lambda: desk.judge(person))
        (judged,) = desk.times()
        found = reasons(await call)
    assert found == ([-0.5, "NOT_JUDGED"] if judged == "x" else ["NOT_JUDGED", 0])


async def test_a_deadline_is_the_callers_own_status(tmp_path: Path):
    """Nobody is at the desk: no number, and what expired is counted."""
    async with serving(people(tmp_path)) as running:
        model = running.server.catalog.find("people")
        with pytest.raises(DeadlineExpired):
            await model.score([Item(Text("p", "x")), Item(Text("p", "xx"))], Deadline.within(0.5))
        sample = running.server.metrics.registry.get_sample_value
        assert sample("plaudit_reward_deadline_expired_total", {"where": "people"}) == 2


async def test_a_full_queue_refuses_but_not_what_is_known(tmp_path: Path):
    async with serving(people(tmp_path, max_queue_items=2)) as running:
        with at_the_desk(url(tmp_path)):
            assert scores(await running.score(text("p", "xx"), text("p", "x"))) == [0, -0.5]
        busy = ask(running, "a", "b")
        await until(lambda: waiting(running) == 2)
        found = await failure(running.score(text("p", "c")))
        assert (found.code, found.reason) == (Code.UNAVAILABLE, "QUEUE_FULL")
        assert scores(await running.score(text("p", "xx"))) == [0]
        with at_the_desk(url(tmp_path)):
            assert scores(await busy) == [-1, -1]


async def test_whoever_could_not_be_answered_in_time_is_told_at_once(tmp_path: Path):
    """At the pace that people were seen to have; a night without them is none."""
    async with serving(people(tmp_path)) as running:
        model = running.server.catalog.find("people")

        def pace() -> float:
            """Seconds for an item, while 30 wait."""
            return model.admission.drain_seconds() / 30

        with at_the_desk(url(tmp_path), every=0.5):
            await running.score(*(text("p", f"{number}") for number in range(4)))
        first = ask(running, *(f"{number}" for number in range(10, 40)))
        await until(lambda: waiting(running) == 30)
        assert 0.2 < pace() < 1.5
        found = await failure(running.score(text("p", "more"), timeout=3))
        assert found.reason == "DEADLINE_UNREACHABLE"
        assert "more" not in asked(tmp_path)
        model._heard_at -= 8 * 3600
        person = (desk := Desk(url(tmp_path))).sign_in("Ada")
        await until(lambda: desk.judge(person))
        await asyncio.sleep(0.7)
        assert pace() < human.PAUSE_S / 2
        first.cancel()


async def test_a_drain_gives_people_its_time_and_keeps_what_was_asked(tmp_path: Path):
    async with serving(people(tmp_path), drain_timeout=2) as running:
        desk = Desk(url(tmp_path))
        quick, long = ask(running, "x"), ask(running, "xx")
        await until(lambda: asked(tmp_path) == {"x", "xx"})
        draining = asyncio.create_task(running.server.drain())
        await asyncio.sleep(0.2)
        person = desk.sign_in("Ada")
        desk.judge(person)
        first, second = (quick, long) if desk.times()["x"] else (long, quick)
        assert len(scores(await first)) == 1
        assert desk.store.next(person) is not None  # on a screen, while the server goes
        assert await second.code() is grpc.StatusCode.UNAVAILABLE  # which the client tries again
        await draining
    assert asked(tmp_path) == {"x", "xx"}


async def test_a_call_may_take_as_long_as_people_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Longer than a connection lives, and than calls of models may take on one that is old."""
    monkeypatch.setattr(connections, "LONGEST_CALL", 0.2)
    async with serving(people(tmp_path), max_connection_age=0.2, drain_timeout=0.1) as running:
        call = ask(running, "x")
        await asyncio.sleep(1.5)
        with at_the_desk(url(tmp_path)):
            assert scores(await call) == [-0.5]


async def test_two_servers_ask_once_and_one_that_gives_up_leaves_the_other_its_task(tmp_path: Path):
    async with serving(people(tmp_path)) as one, serving(people(tmp_path)) as other:
        calls = [ask(running, "x", "xx") for running in (one, other)]
        gone, stays = ask(one, "xxx"), ask(other, "xxx")
        await until(lambda: asked(tmp_path) == {"x", "xx", "xxx"})
        gone.cancel()
        await asyncio.sleep(1)
        with at_the_desk(url(tmp_path), "Ada", "Bob") as desk:
            assert [scores(await call) for call in calls] == [[-0.5, 0]] * 2
            assert scores(await stays) == [0.5]
            assert scores(await one.score(text("p", "xxx"))) == [0.5]
    assert desk.times() == {"x": 1, "xx": 1, "xxx": 1}


ANSWERS = threading.Event()
ANSWERS.set()


@event.listens_for(Engine, "begin", insert=True)
def begun(_: object) -> None:
    ANSWERS.wait(30)


@contextmanager
def silent():
    """No database answers: whoever begins a transaction waits."""
    ANSWERS.clear()
    yield
    ANSWERS.set()


async def test_while_the_database_is_away_the_server_is_alive_and_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(backend, "PATIENCE_S", 0.7)
    async with serving(people(tmp_path)) as running:
        desk = Desk(url(tmp_path))
        waits = ask(running, "the secret")
        await until(lambda: asked(tmp_path) == {"the secret"})
        with silent():
            found = await failure(waits)
            assert (found.code, found.reason) == (Code.UNAVAILABLE, "DATABASE_AWAY")
            await until(lambda: running.server.catalog.away() == ["people"])
            began = time.monotonic()
            assert (await failure(running.score(text("p", "x")))).reason == "DATABASE_AWAY"
            assert time.monotonic() - began < 0.3, "told at once"
            await asyncio.sleep(0.2)
            assert await health(running.channel) == {name: name == "liveness" for name in await health(running.channel)}
            async with httpx.AsyncClient(base_url=f"http://{running.server.http_address}") as http:
                assert "the database of people is away" in (await http.get("/health")).text
        await until(lambda: running.server.catalog.away() == [], within=20)
        await asyncio.sleep(0.2)
        assert all((await health(running.channel)).values())
        person = desk.sign_in("Ada")
        call = ask(running, "the secret")
        await until(lambda: desk.judge(person))
        assert scores(await call) == [-1]
    told = [record.message for record in caplog.records if "judgements" in record.message]
    assert told == ["the database of judgements is away", "the database of judgements is back"]
    assert "secret" not in caplog.text


async def test_a_database_that_is_away_for_a_moment_holds_nobody_up(tmp_path: Path):
    async with serving(people(tmp_path)) as running:
        desk = Desk(url(tmp_path))
        call = ask(running, "x")
        await until(lambda: asked(tmp_path) == {"x"})
        with silent():
            await asyncio.sleep(1)
        assert running.server.catalog.away() == []
        assert desk.judge(desk.sign_in("Ada"))
        assert scores(await call) == [-0.5]
