"""A real server on the test's own loop, and raw calls to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from grpc_status import rpc_status

from plaudit.reward.server import RewardServer
from plaudit.reward.settings import ServerSettings
from plaudit.settings import parse
from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceStub

DIGITS = {"name": "digits", "rule": {"kind": "digits"}}


@dataclass
class Running:
    """A server that is ready, and a way to call it."""

    server: RewardServer
    channel: grpc.aio.Channel
    stub: RewardServiceStub

    async def score(self, *items: pb.ScoreItem, model: str = "", **options: Any) -> pb.ScoreResponse:
        return await self.stub.Score(pb.ScoreRequest(model=model, items=items), **options)


def settings(*models: dict[str, Any], **more: Any) -> ServerSettings:
    tree = {"models": list(models), "address": "127.0.0.1:0", "http_address": "127.0.0.1:0", **more}
    return parse(ServerSettings, tree, "test")


@contextlib.asynccontextmanager
async def serving(*models: dict[str, Any], **more: Any) -> AsyncIterator[Running]:
    async with RewardServer(settings(*models, **more)) as server:
        await server.load()
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield Running(server, channel, RewardServiceStub(channel))


def text(prompt: str, response: str, **more: Any) -> pb.ScoreItem:
    return pb.ScoreItem(text=pb.TextPair(prompt=prompt, response=response), **more)


def scores(reply: pb.ScoreResponse) -> list[float]:
    return [result.score.score for result in reply.results if result.score.HasField("score")]


@dataclass
class Failure:
    """A status taken apart."""

    code: int
    reason: str
    message: str
    details: list[Any]


def take_apart(status: status_pb2.Status) -> Failure:
    """Asserts the one ErrorInfo that every error carries."""
    kinds = (details.ErrorInfo, details.BadRequest, details.RetryInfo, details.ResourceInfo, details.QuotaFailure)
    found = []
    for packed in status.details:
        (kind,) = (kind for kind in kinds if packed.Is(kind.DESCRIPTOR))
        found.append(kind())
        packed.Unpack(found[-1])
    (info,) = (one for one in found if isinstance(one, details.ErrorInfo))
    assert info.domain == "plaudit.reward"
    return Failure(status.code, info.reason, status.message, found)


async def failure(call: Any) -> Failure:
    """What an awaited call ended in."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return take_apart(rpc_status.from_call(error))
    raise AssertionError("the call did not fail")


async def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Waits for it; raises TimeoutError."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
