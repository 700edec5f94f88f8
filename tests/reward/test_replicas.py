"""Two servers behind one name: what a caller notices when one dies, goes, or comes."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from plaudit_client import RewardClient, Score, ScoreItem, TextPair, channel

from .names import name_server
from .processes import Served, process
from .serving import DIGITS


def slow(folder: Path) -> dict:
    """Scores by length, 20 ms an item."""
    (folder / "slow.py").write_text(
        "import time\ndef score(prompt, response):\n    time.sleep(0.02)\n    return float(len(response))\n"
    )
    return {"name": "slow", "callable": {"function": f"{folder}/slow.py:score", "concurrency": 2}}


def batch(size: int) -> list[ScoreItem]:
    return [ScoreItem(TextPair("", "x" * number)) for number in range(size)]


def values(results: list) -> list[float]:
    assert all(isinstance(result, Score) for result in results)
    return [result.value for result in results]


def answered(server: Served) -> float:
    return server.metric("plaudit_reward_requests_total", method="Score", code="OK")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Small requests, so that a batch is many of them."""
    model = slow(tmp_path_factory.mktemp("model"))
    return {"models": [model], "limits": {"max_items": 4}, "drain_wait": 0.3}


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory, tree: dict) -> Iterator[Served]:
    with process(tmp_path_factory.mktemp("stays"), **tree) as server:
        yield server


@pytest.fixture
def replicas(tmp_path: Path, stays: Served, tree: dict) -> Iterator[list[Served]]:
    with process(tmp_path, **tree) as goes:
        yield [goes, stays]


@pytest.fixture
def client(replicas: list[Served]) -> Iterator[RewardClient]:
    with RewardClient("ipv4:" + ",".join(server.address for server in replicas)) as client:
        client.wait_until_ready(10)
        values(client.score(batch(16)))  # both connections stand
        yield client


def test_one_that_is_killed_costs_attempts_but_no_score(replicas: list[Served], client: RewardClient):
    first, second = replicas
    before = answered(first), answered(second)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.score, batch(96))
        wait_until(lambda: answered(first) > before[0] + 2 and answered(second) > before[1] + 2)
        first.kill()
        assert not asked.done()
        assert values(asked.result(timeout=30)) == [float(number) for number in range(96)]
    assert client.counts.retries >= 1, "nothing was under way on the one that was killed"
    assert client.counts.refused == 0


def test_one_that_drains_costs_not_even_an_attempt(replicas: list[Served], client: RewardClient):
    """A rolling update: the first one goes while both are asked as fast as they can answer."""
    first, second = replicas
    stop = threading.Event()

    def ask() -> int:
        batches = 0
        while not stop.is_set():
            assert values(client.score(batch(8))) == [float(number) for number in range(8)]
            batches += 1
        return batches

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(ask) for _ in range(4)]
        wait_until(lambda: answered(first) > 8)
        first.end()
        alone = answered(second)
        wait_until(lambda: answered(second) > alone + 4)
        stop.set()
        assert sum(caller.result() for caller in callers) > 5
    assert client.counts.retries == 0


@pytest.mark.parametrize(
    "fast",
    [pytest.param(True, id="fast"), pytest.param(False, id="defaults", marks=pytest.mark.long)],
)
def test_a_new_one_is_found_by_name_and_takes_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool):
    """Nobody tells the clients: a connection comes of age, and the name is looked up again."""
    age = {"max_connection_age": 0.5} if fast else {}
    if fast:
        monkeypatch.setattr(channel, "OPTIONS", [*channel.OPTIONS, ("grpc.dns_min_time_between_resolutions_ms", 100)])
    with ExitStack() as stack:
        first = stack.enter_context(process(tmp_path / "first", models=[DIGITS], **age))
        port = first.address.rpartition(":")[2]
        names = stack.enter_context(name_server(["127.0.0.1"]))
        client = stack.enter_context(RewardClient(f"dns://{names.address}/rewards.test:{port}"))
        client.wait_until_ready(10)
        second = stack.enter_context(process(tmp_path / "second", models=[DIGITS], address=f"127.0.0.2:{port}", **age))
        names.addresses.append("127.0.0.2")
        ask_until_balanced(client, first, second, within=10 if fast else 60)
        assert client.counts.retries == 0


def ask_until_balanced(client: RewardClient, first: Served, second: Served, within: float) -> None:
    """Until each answered a third of the last 20 calls; every call gets its score."""
    until, shares = time.monotonic() + within, (0.0, 0.0)
    while min(shares) < 7:
        assert time.monotonic() < until, shares
        before = answered(first), answered(second)
        for _ in range(20):
            assert values(client.score([ScoreItem(TextPair("", "1"))])) == [0.2]
            time.sleep(0.005)
        shares = answered(first) - before[0], answered(second) - before[1]


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
