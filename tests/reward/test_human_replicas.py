"""`plaudit serve` with people behind it, as processes: one is killed, two share a database, the database goes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plaudit.cli import main
from plaudit_client import RewardClient, Score, ScoreItem, ServerUnavailable, TextPair
from tests.feedback.postgres import postgresql, programs, start, stop

from .people import Desk, at_the_desk
from .processes import Served, process, write
from .test_human import people, url

ITEMS = [ScoreItem(TextPair("p", "x" * more)) for more in range(4)]
SCORES = [-1, -0.5, 0, 0.5]


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    if programs() is None:
        pytest.skip("needs PostgreSQL (Debian package postgresql)")
    with postgresql() as found:
        yield found


def persist(client: RewardClient) -> list[float]:
    """As the trainer asks: a server that is gone is waited for, and asked again."""
    while True:
        try:
            results = client.score(ITEMS, timeout=100)
        except ServerUnavailable:
            client.wait_until_ready(60)
        else:
            assert all(isinstance(result, Score) for result in results), results
            return [result.value for result in results]


def until(condition: Callable[[], bool], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_server_that_is_killed_comes_back_to_the_same_tasks(tmp_path: Path):
    """People are asked once, and what they said while nobody served is found."""
    tree = {"models": [people(tmp_path)]}
    with ThreadPoolExecutor(1) as pool:
        with process(tmp_path / "server", **tree) as server:
            client = RewardClient(server.address)
            asking = pool.submit(persist, client)
            desk = Desk(url(tmp_path))
            person = desk.sign_in("Ada")
            until(lambda: desk.judge(person))
            server.kill()
        assert desk.judge(person), "what was asked is there, whoever serves"
        with process(tmp_path / "server", **tree, address=server.address), client:
            with at_the_desk(url(tmp_path)) as rest:
                assert asking.result(timeout=60) == SCORES
            assert set((desk.times() + rest.times()).values()) == {1}
            assert persist(client) == SCORES


@pytest.mark.system
def test_two_servers_and_a_database_that_goes_and_comes_back(tmp_path: Path, postgresql_url: str):
    """Callers wait, or are told to come again; nobody is asked twice, and no server ends."""
    tree = {"models": [{"name": "people", "human": {"database": postgresql_url}}]}
    with (
        ThreadPoolExecutor(4) as pool,
        process(tmp_path / "one", **tree) as one,
        process(tmp_path / "other", **tree) as other,
        RewardClient(one.address) as first,
        RewardClient(other.address) as second,
    ):
        asking = [pool.submit(persist, client) for client in (first, second)]
        desk = Desk(postgresql_url)
        person = desk.sign_in("Ada")
        until(lambda: desk.judge(person))
        stop(postgresql_url)
        until(lambda: not any(ready(server) for server in (one, other)))
        assert not any(call.done() for call in asking)
        start(postgresql_url)
        until(lambda: all(ready(server) for server in (one, other)))
        with at_the_desk(postgresql_url, "Bob", "Cem") as rest:
            assert [call.result(timeout=60) for call in asking] == [SCORES] * 2
        assert sum((desk.times() + rest.times()).values()) == len(ITEMS)
        assert one.process.poll() is None
        assert other.process.poll() is None


def ready(server: Served) -> bool:
    return server.metric("plaudit_reward_ready") == 1


@pytest.mark.parametrize(
    ("database", "told", "code"),
    [
        ("judgements.db", "give sqlite:///FILE", 2),
        ("sqlite:////dev/null/judgements.db", "choose another file", 2),
        ("postgresql://plaudit:sesame@127.0.0.1:1/judgements", "is it up", 69),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path, capsys, database: str, told: str, code: int):
    model = {"name": "people", "human": {"database": database}}
    assert main(["serve", str(write(tmp_path, models=[model]))]) == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1), shown.err
    assert told in shown.err
    assert "sesame" not in shown.err
