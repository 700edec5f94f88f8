"""What callers do to a server by mistake or on purpose, and that others hardly notice it."""

import asyncio
import gzip
import random
import resource
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import psutil
import pytest
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from plaudit.reward import connections

from . import http2
from .processes import Served, process
from .serving import DIGITS, RewardServiceStub, pb, take_apart, text, until

SCORE = "/plaudit_protos.reward.v1.RewardService/Score"
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with process(tmp_path_factory.mktemp("server"), models=[DIGITS, {**DIGITS, "name": "unread"}]) as server:
        yield server


@pytest.fixture(autouse=True)
async def others(server: Served) -> AsyncIterator[None]:
    """Whatever a test does: someone else is answered in time meanwhile, and nothing is left of it."""
    async with answered_meanwhile(server):
        yield
    assert server.metric("plaudit_reward_inflight_requests") == 0
    await until(lambda: not server.metric("plaudit_reward_queue_items"))


@asynccontextmanager
async def answered_meanwhile(server: Served) -> AsyncIterator[None]:
    """One call after the other: the slowest within a second, half of them within 50 ms."""
    took: list[float] = []

    async def ask() -> None:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = RewardServiceStub(channel)
            while True:
                began = time.monotonic()
                reply = await stub.Score(pb.ScoreRequest(items=[text("", "1 2")]), timeout=5)
                took.append(time.monotonic() - began)
                assert reply.results[0].score.score == 0.4
                await asyncio.sleep(0.01)

    asking = asyncio.create_task(ask())
    try:
        yield
        await asyncio.sleep(0.2)
    finally:
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert max(took) < 1
    assert statistics.median(took) < 0.05


@pytest.mark.parametrize("calls", [300, pytest.param(30_000, marks=pytest.mark.long)])
async def test_bytes_that_are_no_request_end_in_a_status(server: Served, calls: int):
    """UNKNOWN, without detail, is the runtime's own for what is no protobuf; what is gets our answer."""
    chance = random.Random(0)
    seen = set[grpc.StatusCode]()
    async with grpc.aio.insecure_channel(server.address) as channel:
        score = channel.unary_unary(SCORE)
        for _ in range(calls):
            body = garbled(chance)
            try:
                pb.ScoreResponse.FromString(await score(body, timeout=5))
                seen.add(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                seen.add(error.code())
                check_status(error, body)
    assert seen >= {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INVALID_ARGUMENT}


def garbled(chance: random.Random) -> bytes:
    """A request of which some bits are flipped and the end may be missing, or any bytes."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.randrange(64))
    items = [text("a prompt", "1 2", item_id="a", finish_reason=chance.randrange(-9, 9)), pb.ScoreItem()]
    body = bytearray(pb.ScoreRequest(model=chance.choice(["", "digits", "x"]), items=items).SerializeToString())
    for _ in range(chance.randrange(4)):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(body[: chance.choice([len(body), chance.randrange(len(body))])])


def check_status(error: grpc.aio.AioRpcError, body: bytes) -> None:
    try:
        pb.ScoreRequest.FromString(body)
    except DecodeError:
        assert error.code() is grpc.StatusCode.UNKNOWN
        assert rpc_status.from_call(error) is None
    else:
        assert take_apart(rpc_status.from_call(error)).reason in {"INVALID_REQUEST", "MODEL_NOT_FOUND"}


async def test_a_message_above_the_limit_is_refused_before_it_fills_memory(server: Served):
    before = memory(server)
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(SCORE)(bytes(64 * MIB), timeout=5)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert memory(server) - before < 16 * MIB


async def test_a_message_that_unpacks_above_the_limit_is_refused_before_it_fills_memory(server: Served):
    before = memory(server)
    packed = await asyncio.to_thread(gzip.compress, bytes(256 * MIB), 1)
    connection = await http2.connect(server.address)
    connection.call(SCORE, packed, encoding="gzip")
    frame = await connection.read_until(http2.HEADERS)
    assert frame is not None
    assert b"grpc-status\x018" in frame.payload  # RESOURCE_EXHAUSTED
    assert memory(server) - before < 16 * MIB
    connection.close()


async def test_answers_that_nobody_reads_hold_no_place_and_little_memory(server: Served):
    """256 answers, and no more: the connection has no room for further calls."""
    before = memory(server)
    request = pb.ScoreRequest(model="unread", items=[text("", "1")] * 5).SerializeToString()
    connection = await http2.connect(server.address, window=0)
    for number in range(2 * connections.MOST_CALLS):
        connection.call(SCORE, request, stream=1 + 2 * number)

    def answered() -> float:
        return server.metric("plaudit_reward_requests_total", model="unread", code="OK")

    await until(lambda: answered() == connections.MOST_CALLS)
    await asyncio.sleep(0.2)
    assert answered() == connections.MOST_CALLS
    assert server.metric("plaudit_reward_queue_items") <= 1
    assert memory(server) - before < 16 * MIB
    connection.close()


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
async def test_idle_connections_cost_a_few_kibibytes_each(server: Served, count: int):
    """Half say hello and then nothing, half not even that. As many as the limit on descriptors allows."""
    count = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    before = memory(server)
    opened = []
    for _ in range(count // 100):
        opened += await asyncio.gather(*(http2.connect(server.address) for _ in range(50)))
        opened += await asyncio.gather(*(http2.connect(server.address, hello=False) for _ in range(50)))
    await until(lambda: psutil.Process(server.process.pid).num_fds() > count, within=30)
    await asyncio.sleep(0.5)
    each = (memory(server) - before) / count
    print(f"{count} idle connections: {each / 1024:.1f} KiB each")
    assert each < 64 * 1024
    for connection in opened:
        connection.close()
    await until(lambda: psutil.Process(server.process.pid).num_fds() < 100, within=30)


def memory(server: Served) -> int:
    return psutil.Process(server.process.pid).memory_info().rss
