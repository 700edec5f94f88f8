"""The client that awaits: the other driver of `core`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from plaudit_client import core
from plaudit_client.base import MOST_AT_ONCE, PARALLEL, Client, closed
from plaudit_client.channel import open_aio_channel
from plaudit_client.errors import RewardError
from plaudit_client.tracing import request_span
from plaudit_client.types import Candidate, Message, ModelInfo, Ranking, Score, ScoreFailure, ScoreItem, TokenScores

T = TypeVar("T")


class AsyncRewardClient(Client[grpc.aio.Channel]):
    """`RewardClient` for asyncio; use it from one event loop.

    async with AsyncRewardClient("localhost:50051") as client:
        results = await client.score([ScoreItem(TextPair("How long is delivery?", "Two days."))])
    """

    async def score(
        self,
        items: Sequence[ScoreItem],
        *,
        members: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[Score | ScoreFailure]:
        """As `RewardClient.score`; cancelling it cancels the calls."""
        return await self._ask(self._core.score(items, members, timeout))

    async def rank(
        self,
        prompt: str | Sequence[Message],
        candidates: Sequence[str | Candidate],
        *,
        top_n: int = 0,
        members: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Ranking:
        """As `RewardClient.rank`."""
        return await self._ask(self._core.rank(prompt, candidates, top_n, members, timeout))

    async def score_tokens(
        self,
        items: Sequence[ScoreItem],
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[TokenScores | ScoreFailure]:
        """As `RewardClient.score_tokens`."""
        return await self._ask(self._core.score_tokens(items, timeout))

    async def get_model(self, *, timeout: float | None = None) -> ModelInfo:  # noqa: ASYNC109
        """As `RewardClient.get_model`."""
        return await self._ask(self._core.get_model(timeout))

    async def wait_until_ready(self, timeout: float) -> ModelInfo:  # noqa: ASYNC109
        """As `RewardClient.wait_until_ready`."""
        return await self._ask(self._core.wait_until_ready(timeout))

    async def close(self, grace: float = 0.0) -> None:
        """As `RewardClient.close`."""
        self._closing = True
        try:
            await _wait(self._idle, grace)
        finally:
            self._closed.set()
            if self._connection is not None:
                await self._connection.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _prepare(self) -> None:
        self._idle, self._closed = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        if self._tls is not None:
            self._tls.contents()  # what cannot be read is said where the client is made

    async def _ask(self, flow: core.Flow[T]) -> T:
        if self._closing:
            raise closed()
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._run(flow)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _run(self, flow: core.Flow[T]) -> T:
        try:
            command = core.start(flow)
            while True:
                command = core.resume(flow, await self._perform(command))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _perform(self, command: core.Call | core.Wait | core.Together) -> object:
        try:
            if self._closed.is_set():
                raise closed()
            match command:
                case core.Call(method, request, timeout):
                    async with self._place(timeout) as left:
                        return await self._call(method, request, left)
                case core.Wait(seconds):
                    await _wait(self._closed, seconds)  # not sleep: `close` ends it
                    return None
                case core.Together(flows):
                    return await self._side_by_side(flows)
        except grpc.RpcError as error:
            return self._explained(error)
        except RewardError as error:
            return error
        except asyncio.CancelledError:  # by whoever cancelled the task, or by `close`
            if not self._closed.is_set() or _is_being_cancelled():
                raise
            return closed()

    async def _call(self, method: core.Method, request: core.Request, timeout: float) -> object:  # noqa: ASYNC109
        with request_span(method) as span:
            metadata = (*self._key, *span.metadata)
            call = getattr(self._connected(open_aio_channel).stub, method)  # of the loop that asks
            reply = await call(request, timeout=timeout, metadata=metadata)
            span.answered(reply)
            return reply

    @contextlib.asynccontextmanager
    async def _place(self, timeout: float) -> AsyncIterator[float]:  # noqa: ASYNC109
        """As `RewardClient._place`."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                await self._places.acquire()
        except TimeoutError:
            raise core.too_late() from None
        try:
            if self._closed.is_set():
                raise closed()
            yield timeout - (time.monotonic() - began)
        finally:
            self._places.release()

    async def _side_by_side(self, flows: list[core.Flow[Any]]) -> list[Any]:
        places = asyncio.Semaphore(PARALLEL)

        async def in_turn(flow: core.Flow[Any]) -> Any:
            async with places:
                return await self._run(flow)

        tasks = [asyncio.create_task(in_turn(flow)) for flow in flows]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
