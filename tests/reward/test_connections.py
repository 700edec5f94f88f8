"""How long connections live, and who may ping how often: seen from HTTP/2 itself and from our own client."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from plaudit.reward import connections
from plaudit.reward.server import RewardServer
from plaudit.reward.settings import ServerSettings
from plaudit_client import AsyncRewardClient, RewardClient, ScoreItem, TextPair, channel

from . import http2
from .serving import DIGITS, pb, serving, settings, text, until

SCORE = "/plaudit_protos.reward.v1.RewardService/Score"
ITEMS = [ScoreItem(TextPair("", "1"))]


def slow(folder: Path, seconds: float, **more: int) -> dict:
    (folder / "slow.py").write_text(
        f"import time\ndef score(prompt, response):\n    time.sleep({seconds})\n    return 1.0\n"
    )
    return {"name": "slow", "callable": {"function": f"{folder}/slow.py:score", **more}}


def connected_to(server: RewardServer) -> set[int]:
    """The client's ports of the connections that are open."""
    port = int(server.address.rpartition(":")[2])
    return {
        found.raddr.port
        for found in psutil.Process().net_connections("tcp")
        if found.status == psutil.CONN_ESTABLISHED and found.laddr.port == port
    }


async def test_an_aged_connection_is_closed_and_no_call_fails(tmp_path: Path):
    """Not the one under way, though it takes longer than a drain would wait, and not the next ones."""
    async with (
        serving(slow(tmp_path, 1.2), DIGITS, max_connection_age=0.3, drain_timeout=0.2) as running,
        AsyncRewardClient(running.server.address) as under_way,
        AsyncRewardClient(running.server.address, model="digits") as others,
    ):
        call = asyncio.create_task(under_way.score(ITEMS))
        ports = set[int]()
        while not call.done():
            assert [result.value for result in await others.score(ITEMS)] == [0.2]
            ports |= connected_to(running.server)
            await asyncio.sleep(0.01)
        assert [result.value for result in await call] == [1.0]
        assert len(ports) >= 4, "the connections were never closed"
        assert (under_way.counts.retries, others.counts.retries) == (0, 0)


async def test_more_calls_than_a_connection_takes_wait_their_turn_in_the_client(tmp_path: Path):
    """Those beyond would be refused, hundreds at once, and end in an error when the budget of retries is used up."""
    async with serving(slow(tmp_path, 0.02, concurrency=64)) as running:
        async with AsyncRewardClient(running.server.address) as client:
            await client.get_model()
            found = await asyncio.gather(*(client.score(ITEMS) for _ in range(3 * connections.MOST_CALLS)))
            assert [result.value for (result,) in found] == [1.0] * len(found)

        def blocking() -> list[float]:
            with RewardClient(running.server.address) as client, ThreadPoolExecutor(300) as threads:
                return [results[0].value for results in threads.map(client.score, [ITEMS] * 600)]

        assert await asyncio.to_thread(blocking) == [1.0] * 600


async def test_clients_of_one_process_have_connections_of_their_own():
    """Else the calls of all of them would be calls of one connection."""
    async with (
        serving(DIGITS) as running,
        AsyncRewardClient(running.server.address) as one,
        AsyncRewardClient(running.server.address) as other,
    ):
        before = connected_to(running.server)
        await one.get_model()
        await other.get_model()
        assert len(connected_to(running.server) - before) == 2


async def test_closing_begins_with_a_goaway_that_leaves_calls_alone():
    async with serving(DIGITS, max_connection_age=0.3) as running:
        began = time.monotonic()
        connection = await http2.connect(running.server.address)
        goaway = await connection.read_until(http2.GOAWAY)
        assert goaway is not None
        assert goaway.payload[:8] == b"\x7f\xff\xff\xff\0\0\0\0"  # every stream will be answered; no error
        assert 0.25 <= time.monotonic() - began <= 1.0
        connection.close()


def test_a_new_replica_is_found_within_a_minute():
    """A tenth is what gRPC adds; 5 s are for the connection and for health."""
    assert 1.1 * ServerSettings(models=settings(DIGITS).models).max_connection_age + 5 <= 60


def test_our_clients_pings_are_rare_enough_for_this_server_and_for_any_with_default_settings():
    permitted = dict(connections.options(settings(DIGITS)))["grpc.http2.min_ping_interval_without_data_ms"]
    assert dict(channel.OPTIONS)["grpc.keepalive_time_ms"] > max(permitted, 300_000)


async def test_our_client_goes_on_asking_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch):
    """gRPC's own default is to stop after two pings; then a dead connection is never noticed."""
    faster = {**dict(channel.OPTIONS), "grpc.keepalive_time_ms": 50}
    monkeypatch.setattr(channel, "OPTIONS", list(faster.items()))
    pinged = asyncio.Semaphore(0)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = http2.Connection(reader, writer)
        await reader.readexactly(len(http2.PREFACE))
        connection.send(http2.SETTINGS)
        while (frame := await connection.read()) is not None:
            if frame.kind == http2.PING:
                connection.send(http2.PING, frame.payload, http2.ACK)
                pinged.release()
        connection.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with AsyncRewardClient(f"{host}:{port}") as client:
            call = asyncio.create_task(client.score(ITEMS, timeout=60))
            for _ in range(3):
                await asyncio.wait_for(pinged.acquire(), 5)
            call.cancel()


async def test_pings_as_often_as_permitted_are_answered_and_more_are_not():
    async with serving(DIGITS, keepalive=0.4) as running:
        connection = await http2.connect(running.server.address)
        for _ in range(6):
            connection.ping()
            frame = await connection.read_until(http2.PING)
            while frame is not None and not frame.flags & http2.ACK:  # the server asks, too
                frame = await connection.read_until(http2.PING)
            assert frame is not None
            await asyncio.sleep(0.22)
        for _ in range(4):
            connection.ping()
        goaway = await connection.read_until(http2.GOAWAY)
        assert goaway is not None
        assert goaway.payload[4:8] == http2.ENHANCE_YOUR_CALM.to_bytes(4)
        connection.close()


async def test_a_client_that_vanished_is_noticed_and_its_work_is_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """It opened a call, and then answers nothing any more, not even a ping."""
    monkeypatch.setattr(connections, "NO_ANSWER_MS", 300)
    async with serving(slow(tmp_path, 2), keepalive=0.3) as running:
        connection = await http2.connect(running.server.address)
        connection.call(SCORE, pb.ScoreRequest(items=[text("", "1")]).SerializeToString())
        (admission,) = running.server.catalog.admissions()
        await until(lambda: admission.items == 1)
        ping = await connection.read_until(http2.PING)
        assert ping is not None
        connection.send(http2.PING, ping.payload, http2.ACK)
        await until(lambda: admission.items == 0, within=1.5)
        connection.close()
