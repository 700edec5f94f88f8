"""Ways to send bytes, as cheap as they come in Python: what the load generator burns, the server cannot have."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol

import grpc
import grpc.aio

from plaudit.addresses import split_address

Kind = Literal["grpc", "http"]
SCORE = "/plaudit_protos.reward.v1.RewardService/Score"
CHANNELS = 4


class Call(Protocol):
    """Sends one prepared request and says how it ended: "OK", or a name for what went wrong."""

    async def __call__(self, request: bytes, within: float | None = None) -> str: ...


def connect(kind: Kind, address: str, clients: int, key: str = "") -> AbstractAsyncContextManager[Sequence[Call]]:
    """A call for each client, connected."""
    return _grpc(address, clients, key) if kind == "grpc" else _http(address, clients)


@asynccontextmanager
async def _grpc(address: str, clients: int, key: str) -> AsyncIterator[Sequence[Call]]:
    """A few channels that the clients share; bytes in, bytes out, no message is made or read."""
    async with contextlib.AsyncExitStack() as stack:
        own = [("grpc.use_local_subchannel_pool", 1)]  # else all channels would share one connection
        channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(min(CHANNELS, clients))]
        for channel in channels:
            await stack.enter_async_context(channel)
            await channel.channel_ready()
        calls = [_grpc_call(channel, key) for channel in channels]
        yield list(itertools.islice(itertools.cycle(calls), clients))


def _grpc_call(channel: grpc.aio.Channel, key: str) -> Call:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SCORE)

    metadata = (("authorization", f"Bearer {key}"),) if key else None

    async def call(request: bytes, within: float | None = None) -> str:
        try:
            await method(request, timeout=within, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    return call


@asynccontextmanager
async def _http(address: str, clients: int) -> AsyncIterator[Sequence[Call]]:
    """A connection for each client, kept alive."""
    host, port = split_address(address)
    streams = [await asyncio.open_connection(host, port) for _ in range(clients)]
    try:
        yield [_http_call(reader, writer) for reader, writer in streams]
    finally:
        for _, writer in streams:
            writer.close()


def _http_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    async def call(request: bytes, within: float | None = None) -> str:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        sizes = [line.partition(":")[2] for line in headers if line.lower().startswith("content-length:")]
        await reader.readexactly(int(sizes[0]))
        return "OK" if " 200 " in status else status

    return call


def http_requests(queries: Sequence[str]) -> list[bytes]:
    """OpenRLHF's form, one query each, the head and the body in one piece."""
    bodies = [json.dumps({"query": [query]}).encode() for query in queries]
    head = b"POST /get_reward HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return [head % len(body) + body for body in bodies]
