"""Two replicas behind one name are replaced in turn, under load, at addresses of their own and by another version."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from plaudit_client import RewardClient, Score, ScoreItem, TextPair, channel

from .names import NameServer, name_server
from .processes import Served, process

OLD = {"name": "m", "rule": {"kind": "digits"}}
NEW = {"name": "m", "rule": {"kind": "keyword", "word": "seven"}}
ITEMS = [ScoreItem(TextPair("", text)) for text in ("7", "seven", "7 8 seven", "none")]
GOLDENS = {"OLD": [0.2, -0.2, 0.4, -0.2], "NEW": [0.0, 1.0, 1.0, 0.0]}
CALLERS, CALLS_PER_SECOND = 4, 25


@dataclass
class Load:
    """Callers, each with a client of its own, at a constant rate. What a call raises ends the test."""

    target: str
    calls: Counter[str] = field(default_factory=Counter)  # by the version that answered
    retries: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(CALLERS) as pool:
            callers = [pool.submit(self._call) for _ in range(CALLERS)]
            try:
                yield
            finally:
                self._stop.set()
        for caller in callers:
            caller.result()

    def _call(self) -> None:
        with RewardClient(self.target, timeout=20) as client:
            client.wait_until_ready(20)
            while not self._stop.wait(1 / CALLS_PER_SECOND):
                results = client.score(ITEMS)
                assert all(isinstance(result, Score) for result in results), results
                (version,) = {result.model.name for result in results}
                values = [result.value for result in results]
                assert values in GOLDENS.values()
                self.calls[f"{version} {values}"] += 1
            self.retries += client.counts.retries


def answered(server: Served) -> float:
    return server.metric("plaudit_reward_requests_total", method="Score", code="OK")


def seconds_to_its_share(new: Served, others: list[Served], within: float) -> float:
    """Until `new` answers four fifths of an equal share of a second's calls."""
    began = time.monotonic()
    while True:
        before = [answered(server) for server in (new, *others)]
        time.sleep(1)
        own, *theirs = [answered(server) - one for server, one in zip((new, *others), before, strict=True)]
        if own >= 0.8 * (own + sum(theirs)) / (1 + len(others)):
            return time.monotonic() - began
        assert time.monotonic() < began + within, (own, theirs)


def replace(old: Served, new: Served, stay: Served, names: NameServer, within: float) -> float:
    """As a Deployment does with maxUnavailable 0: the new one is ready, is named, and the old one ends."""
    names.addresses.append(host(new))
    took = seconds_to_its_share(new, [old, stay], within)
    names.addresses.remove(host(old))
    old.end()
    return took


def host(server: Served) -> str:
    return server.address.rpartition(":")[0]


@pytest.mark.parametrize(
    "fast",
    [pytest.param(True, id="fast"), pytest.param(False, id="defaults", marks=pytest.mark.long)],
)
def test_replicas_are_replaced_and_no_call_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool):
    settings = {"drain_wait": 0.5} | ({"max_connection_age": 0.7} if fast else {})
    if fast:
        monkeypatch.setattr(channel, "OPTIONS", [*channel.OPTIONS, ("grpc.dns_min_time_between_resolutions_ms", 100)])

    def start(number: int, model: dict, port: int) -> Served:
        address = f"127.0.0.{number}:{port}"
        return stack.enter_context(process(tmp_path / str(number), models=[model], address=address, **settings))

    with ExitStack() as stack:
        first = start(1, OLD, 0)
        port = int(first.address.rpartition(":")[2])
        second = start(2, OLD, port)
        names = stack.enter_context(name_server([host(first), host(second)]))
        load = Load(f"dns://{names.address}/rewards.test:{port}")
        with load.running():
            third = start(3, NEW, port)
            times = [replace(first, third, second, names, 20 if fast else 60)]
            fourth = start(4, NEW, port)
            times.append(replace(second, fourth, third, names, 20 if fast else 60))
            times.append(seconds_to_its_share(fourth, [third], 20 if fast else 60))
        assert len(load.calls) == 2, load.calls  # of each version, none with the other's scores
        assert min(load.calls.values()) > 20
    shares = ", ".join(f"{took:.0f} s" for took in times)
    print(f"{load.calls.total()} calls, 0 failed, {load.retries} attempts more; a new replica's share after {shares}")
