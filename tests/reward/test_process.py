"""A model's process: it answers as the model would, ends with its server, and takes the server along when it dies."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from plaudit.errors import ConfigurationError
from plaudit.reward import classifier
from plaudit.reward.backends.model import ModelBackend
from plaudit.reward.backends.process import ModelFailed, ModelProcess, Order
from plaudit.reward.errors import DeviceLost
from plaudit.reward.rendering import Rendering
from plaudit_client import RewardClient, ScoreItem, ServerUnavailable, TextPair

from . import tiny_models
from .processes import Served, process
from .serving import settings

ROWS = [(5, 6, 7), (8, 9), (10,) * 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.decoder(tmp_path_factory.mktemp("model"), Rendering(max_tokens=64))


def order(folder: Path) -> Order:
    return Order(folder, dtype="float32", device="cpu", max_tokens=64, threads=1)


def all_below(server: Served) -> list[psutil.Process]:
    """The model's process and those that multiprocessing needs for it."""
    found: list[psutil.Process] = psutil.Process(server.process.pid).children(recursive=True)
    return found


def model_of(server: Served) -> psutil.Process:
    """It is forked from a process that is the server's child."""
    (model,) = (one for one in all_below(server) if one.ppid() != server.process.pid)
    return model


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=10)[1]


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_it_answers_what_the_model_answers_here(folder: Path):
    here = ModelBackend(folder, dtype="float32", device="cpu", max_tokens=64)
    with ModelProcess(order(folder)) as there:
        assert there.vocabulary == here.vocabulary
        assert there.self_test_tolerance == here.self_test_tolerance
        assert there.alone(ROWS[0]) == here.alone(ROWS[0])
        assert there.forward(ROWS) == here.forward(ROWS)
        assert there.best_budget(32).cost == 32


def test_what_fails_there_is_raised_here_and_the_next_question_is_answered(folder: Path, tmp_path: Path):
    with ModelProcess(order(folder)) as there:
        with pytest.raises(ModelFailed, match=r"model\.py[^$]*IndexError"):
            there.forward([(1_000_000,)])
        assert len(there.forward(ROWS)) == 3
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        ModelProcess(order(tmp_path))


def test_a_process_that_ended_is_lost(folder: Path):
    with ModelProcess(order(folder)) as there:
        assert not there.lost()
        there._process.kill()
        with pytest.raises(DeviceLost):
            there.forward(ROWS)
        there._process.join(5)
        assert there.lost()
        with pytest.raises(DeviceLost):
            there.forward(ROWS)


def test_one_that_ends_while_it_loads_is_a_model_that_cannot_be_served(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(there: ModelProcess, max_tokens: int) -> None:
        there._process.kill()
        there.alone(ROWS[0])

    monkeypatch.setattr(ModelProcess, "best_budget", killed)
    server = settings({"name": "m", "model": str(folder)}, threads=1)
    with pytest.raises(ConfigurationError, match="memory"):
        classifier.load(server.models[0], folder, server)


def test_the_server_ends_with_its_model_and_says_so(folder: Path, tmp_path: Path):
    with process(tmp_path / "s", models=[{"name": "m", "model": str(folder)}], threads=1) as server:
        with RewardClient(server.address) as client, ThreadPoolExecutor() as callers:
            model = model_of(server)
            model.suspend()  # so that the call is surely on its way when the model goes
            call = callers.submit(client.score, [ScoreItem(TextPair("a", "b"))], timeout=5)
            wait_until(lambda: server.metric("plaudit_reward_queue_items") == 1)
            model.kill()
            with pytest.raises(ServerUnavailable):
                call.result()
        assert server.process.wait(timeout=20) == 1
    (line,) = [line for line in (tmp_path / "s" / "stderr.txt").read_text().splitlines() if "plaudit serve:" in line]
    assert "process of model m has ended" in line


def test_signals_are_the_servers_to_answer(folder: Path, tmp_path: Path):
    """A terminal's Ctrl-C goes to all processes of the group, and so does a service manager's SIGTERM."""
    with process(tmp_path / "s", models=[{"name": "m", "model": str(folder)}], threads=1) as server:
        below = all_below(server)
        for one in below:
            one.send_signal(signal.SIGINT)
            one.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert all(one.is_running() for one in below)
        assert httpx.get(f"http://{server.http_address}/health").status_code == 200
        with RewardClient(server.address) as client:
            assert client.score([ScoreItem(TextPair("a", "b"))])
        server.end()
        assert gone(below)


def test_no_process_outlives_its_server(folder: Path, tmp_path: Path):
    with process(tmp_path / "s", models=[{"name": "m", "model": str(folder)}], threads=1) as server:
        below = all_below(server)
        assert len(below) > 1
        server.kill()
        assert gone(below)
