"""Real servers, looked at over HTTP."""

import socket
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette

from plaudit.errors import ConfigurationError
from plaudit.reward.settings import ServerSettings
from plaudit.telemetry.http import serve_in_thread
from plaudit.top import ask, endpoints
from plaudit.top.ask import Unreachable
from plaudit.top.endpoints import Board
from plaudit.top.seen import ITEMS
from plaudit.trainer.control import State
from tests.reward.serving import DIGITS, Running, serving, text
from tests.top.processes import FIRST, SECOND, ServedRun, answering, run_folder, served


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


async def model_of(running: Running) -> str:
    return running.server.catalog.all()[0].card.resource


async def test_a_reward_server_is_counted_between_two_looks() -> None:
    async with serving(DIGITS) as running:
        board = Board([running.server.http_address])
        await running.score(text("a", "1"))
        await board.look()
        await running.score(text("a", "1"), text("a", "2 3"), text("a", "none"))
        with pytest.raises(Exception, match="nobody"):
            await running.score(text("a", "1"), model="nobody")
        await board.look()
        (endpoint,) = board.endpoints
    assert (endpoint.kind, list(endpoint.models.values())) == ("reward server", ["digits"])
    stretch = endpoint.server.stretch
    assert stretch.grown.by(ITEMS, "outcome") == {"ok": 3}
    assert stretch.rate(ITEMS) == pytest.approx(3 / stretch.seconds)
    assert stretch.rates("plaudit_reward_requests_total", "code").keys() == {"OK", "NOT_FOUND"}
    assert 0 < stretch.quantile(0.5, "plaudit_reward_request_duration_seconds") < 1
    assert endpoint.answer.health["status"] == "ok"


async def test_a_run_is_seen_with_the_reward_server_that_it_asks(tmp_path: Path, monkeypatch) -> None:
    run = ServedRun(tmp_path / "run")
    async with serving(DIGITS) as running:
        port = int(running.server.http_address.rpartition(":")[2])
        monkeypatch.setattr(endpoints, "USUAL_PORT", port)
        with served(run) as address:
            asked = {"reward": running.server.address, "safe": "127.0.0.2:1"}
            models = {"reward": await model_of(running), "safe": "models/safe/versions/1"}
            board = Board([str(run_folder(tmp_path / "run", address, asked, models))])
            run.step(FIRST)
            await board.look()
            run.step(SECOND)
            await board.look()
    seen, server = board.endpoints
    assert (seen.kind, seen.address, server.kind) == ("run", address, "reward server")
    assert seen.run.stretch.grown.value("plaudit_trainer_tokens_total") == 600
    assert seen.run.course("plaudit_ppo_kl", 5) == [0.5, 4.0]
    assert seen.answer.health["step"] == 2
    assert board.unseen == {"models/safe/versions/1": "127.0.0.2:1"}


async def test_a_server_with_other_models_is_not_the_run_s(tmp_path: Path, monkeypatch) -> None:
    async with serving(DIGITS) as running:
        monkeypatch.setattr(endpoints, "USUAL_PORT", int(running.server.http_address.rpartition(":")[2]))
        model = f"{await model_of(running)}0"
        folder = run_folder(tmp_path, free_address(), {"reward": running.server.address}, {"reward": model})
        board = Board([str(folder)])
        await board.look()
        assert [endpoint.folder for endpoint in board.endpoints] == [folder]
        assert board.unseen == {model: running.server.address}
        named = Board([str(folder), running.server.http_address])  # whoever names it sees it
        await named.look()
        assert len(named.endpoints) == 2


def test_the_usual_port_is_that_of_plaudit_serve() -> None:
    assert ServerSettings.__dataclass_fields__["http_address"].default.endswith(f":{endpoints.USUAL_PORT}")


async def test_who_goes_away_is_unreachable_and_comes_back(tmp_path: Path) -> None:
    run = ServedRun(tmp_path)
    with served(run) as address:
        board = Board([address])
        (endpoint,) = board.endpoints
        await board.look()
        assert (endpoint.kind, endpoint.lost_at) == ("run", None)
    await board.look()
    since = endpoint.lost_at
    assert since == pytest.approx(time.time(), abs=5)
    assert endpoint.problem == "connection refused"
    await board.look()
    assert (endpoint.lost_at, endpoint.kind) == (since, "run")  # as it was last seen
    run.step(FIRST)
    with served(run, int(address.rpartition(":")[2])):
        await board.look()
    assert (endpoint.lost_at, endpoint.run.course("plaudit_ppo_kl", 5)) == (None, [0.5])


async def test_a_run_that_goes_on_elsewhere_is_found_by_its_folder(tmp_path: Path) -> None:
    one, two = ServedRun(tmp_path), ServedRun(tmp_path)
    with served(one) as address:
        board = Board(
            [str(run_folder(tmp_path, address, {"reward": "127.0.0.2:1"}, {"reward": "models/a/versions/1"}))]
        )
        await board.look()
        assert board.unseen == {"models/a/versions/1": "127.0.0.2:1"}
    with served(two) as address:
        run_folder(tmp_path, address, {"reward": "127.0.0.2:2"}, {"reward": "models/a/versions/2"})
        two.step(FIRST)
        await board.look()
    assert board.unseen == {"models/a/versions/2": "127.0.0.2:2"}
    (endpoint,) = board.endpoints
    assert (endpoint.address, endpoint.lost_at, endpoint.answer.health["step"]) == (address, None, 1)


async def test_another_run_on_the_port_is_not_taken_for_it(tmp_path: Path) -> None:
    with served(ServedRun(tmp_path / "other")) as address:
        board = Board([str(run_folder(tmp_path / "mine", address, {"reward": ""}, {}))])
        await board.look()
    (endpoint,) = board.endpoints
    assert (endpoint.answer, endpoint.problem) == (None, f"its port belongs to {tmp_path / 'other'} now")


async def test_the_end_of_a_run_is_seen(tmp_path: Path) -> None:
    run = ServedRun(tmp_path)
    with served(run) as address:
        board = Board([address])
        run.control.end(State.DONE)
        await board.look()
    await board.look()
    (endpoint,) = board.endpoints
    assert (endpoint.answer.health["state"], endpoint.lost_at is None) == ("done", False)


@pytest.mark.parametrize("target", ["no/such/folder", "127.0.0.1", "127.0.0.1:x", "/"])
def test_what_is_no_target_is_named(target: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{target}' is neither a run folder"):
        Board([target])


def test_a_run_json_without_an_address_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ConfigurationError, match=r"run\.json names no http_address"):
        Board([str(tmp_path)])


def test_an_address_may_be_written_as_it_is_printed() -> None:
    (endpoint,) = Board(["http://127.0.0.1:9090/metrics", "http://127.0.0.1:9090/metrics"]).endpoints
    assert endpoint.address == "127.0.0.1:9090"


OK = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "pause", "problem"),
    [
        (b"SSH-2.0-OpenSSH\r\n", 0, "it does not speak HTTP"),
        (b"", 0, "it does not speak HTTP"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", 0, "/metrics answers 404"),
        (OK + b"plaudit_a{ 1\n", 0, "/metrics is no page of metrics"),
        (OK + b"\xff", 0, "/metrics is no page of metrics"),
        (OK + bytes(1 << 20), 0.001, "/metrics is longer than 4 MiB"),
        (b"x", 0.05, "no answer within 0.5 s"),  # drop by drop
    ],
)
async def test_other_answers_are_named_in_time(answer: bytes, pause: float, problem: str, monkeypatch) -> None:
    monkeypatch.setattr(ask, "DEADLINE_SECONDS", 0.5 if len(answer) == 1 else 30)
    async with answering(answer, pause) as address:
        began = time.monotonic()
        with pytest.raises(Unreachable) as found:
            await ask.ask(address)
        assert str(found.value) == problem
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("host", ["nobody.invalid", f"{'a' * 70}.invalid"])
async def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(Unreachable, match=r"no such host|no connection"):
        await ask.ask(f"{host}:80")


async def test_a_page_of_something_else_is_neither() -> None:
    async with answering(OK + b"python_info 1\n") as address:
        board = Board([address])
        await board.look()
    (endpoint,) = board.endpoints
    assert (endpoint.kind, endpoint.lost_at, dict(endpoint.answer.health)) == ("", None, {})


async def test_a_process_without_our_routes() -> None:
    thread = serve_in_thread(Starlette(), "127.0.0.1", 0)
    try:
        with pytest.raises(Unreachable, match="/metrics answers 404"):
            await ask.ask(f"127.0.0.1:{thread.port}")
    finally:
        thread.close()
