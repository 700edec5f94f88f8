"""The two clients: drivers of `core`, one that blocks and one that awaits."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from plaudit_client import core
from plaudit_client.channel import Connection, open_aio_channel, open_channel
from plaudit_client.credentials import Tls, key_metadata
from plaudit_client.errors import ClientClosed, RewardError, ServerUnavailable
from plaudit_client.retry import RetryCounts, RetryPolicy
from plaudit_client.status import from_rpc
from plaudit_client.tracing import request_span
from plaudit_client.types import Candidate, Message, ModelInfo, Ranking, Score, ScoreFailure, ScoreItem, TokenScores

T = TypeVar("T")

PARALLEL = 4
"""Requests of one `score` under way at once: enough to keep several replicas busy, too few to fill a queue."""


class RewardClient:
    """Asks a reward server for scores; safe to use from several threads.

    with RewardClient("localhost:50051") as client:
        results = client.score([ScoreItem(TextPair("How long is delivery?", "Two days."))])
    """

    def __init__(
        self,
        address: str,
        *,
        model: str = "",
        timeout: float = 60.0,
        retry: RetryPolicy | None = None,
        api_key: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        """`address` is a gRPC target; `model` a resource name, empty for the server's default; `timeout` in seconds.

        An `api_key` without `tls` travels in the clear.
        """
        self.address, self._key = address, key_metadata(api_key)
        self._core = core.Core(model, timeout, retry or RetryPolicy())
        self._connection = Connection(open_channel, address, tls)
        self._closed = threading.Event()

    def score(
        self, items: Sequence[ScoreItem], *, members: bool = False, timeout: float | None = None
    ) -> list[Score | ScoreFailure]:
        """One result per item, in order, however many requests that takes; with the `members` of an ensemble, if asked.

        `timeout` bounds everything: splitting, waiting, retries. Raises RewardError when the call as a whole failed.
        """
        return self._run(self._core.score(items, members, timeout))

    def rank(
        self,
        prompt: str | Sequence[Message],
        candidates: Sequence[str | Candidate],
        *,
        top_n: int = 0,
        members: bool = False,
        timeout: float | None = None,
    ) -> Ranking:
        """The candidates for `prompt` (text, or the turns before the response), best first; best-of-n is `.best`.

        All of them, or the best `top_n`; in one request, so at most `ModelLimits.max_items`.
        """
        return self._run(self._core.rank(prompt, candidates, top_n, members, timeout))

    def score_tokens(
        self, items: Sequence[ScoreItem], *, timeout: float | None = None
    ) -> list[TokenScores | ScoreFailure]:
        """As `score`, of a model that scores each token of the response (`ModelInfo.scores_tokens`)."""
        return self._run(self._core.score_tokens(items, timeout))

    def get_model(self, *, timeout: float | None = None) -> ModelInfo:
        """What the server says about the model now."""
        return self._run(self._core.get_model(timeout))

    def wait_until_ready(self, timeout: float) -> ModelInfo:
        """Blocks until the model answers; raises ServerUnavailable when it does not within `timeout` seconds."""
        return self._run(self._core.wait_until_ready(timeout))

    @property
    def counts(self) -> RetryCounts:
        """Calls and retries so far."""
        return self._core.budget.counts

    def close(self) -> None:
        """Ends the calls under way with ClientClosed."""
        self._closed.set()
        self._connection.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, flow: core.Flow[T]) -> T:
        try:
            command = core.start(flow)
            while True:
                command = core.resume(flow, self._perform(command))
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, command: core.Call | core.Wait | core.Together) -> object:
        try:
            if self._closed.is_set():
                raise ClientClosed("the reward client is closed")
            match command:
                case core.Call(method, request, timeout):
                    with request_span(method) as span:
                        metadata = (*self._key, *span.metadata)
                        reply = getattr(self._connection.stub, method)(request, timeout=timeout, metadata=metadata)
                        span.answered(reply)
                        return reply
                case core.Wait(seconds):
                    self._closed.wait(seconds)  # not sleep: `close` ends it
                    return None
                case core.Together(flows):
                    return self._side_by_side(flows)
        except grpc.RpcError as error:
            return self._explained(error)
        except RewardError as error:
            return error
        except ValueError:  # gRPC's, for a channel that another thread closed just now
            if not self._closed.is_set():
                raise
            return ClientClosed("the reward client is closed")

    def _explained(self, error: grpc.RpcError) -> RewardError:
        explained = from_rpc(error, self.address)
        if isinstance(explained, ServerUnavailable):
            self._connection.renew()
        return explained

    def _side_by_side(self, flows: list[core.Flow[Any]]) -> list[Any]:
        if len(flows) <= 1:
            return [self._run(flow) for flow in flows]
        pool = ThreadPoolExecutor(min(PARALLEL, len(flows)), thread_name_prefix="plaudit-client")
        try:
            contexts = [copy_context() for _ in flows]  # whose span is active
            return list(pool.map(lambda context, flow: context.run(self._run, flow), contexts, flows))
        finally:  # after an error or Ctrl-C, what has not begun never does; `close` ends what has
            pool.shutdown(wait=False, cancel_futures=True)


class AsyncRewardClient:
    """The same for asyncio; use it from one event loop.

    async with AsyncRewardClient("localhost:50051") as client:
        results = await client.score([ScoreItem(TextPair("How long is delivery?", "Two days."))])
    """

    def __init__(
        self,
        address: str,
        *,
        model: str = "",
        timeout: float = 60.0,
        retry: RetryPolicy | None = None,
        api_key: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        """As `RewardClient`."""
        self.address, self._key, self._tls = address, key_metadata(api_key), tls
        self._core = core.Core(model, timeout, retry or RetryPolicy())
        self._closed = False

    async def score(
        self,
        items: Sequence[ScoreItem],
        *,
        members: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[Score | ScoreFailure]:
        """As `RewardClient.score`; cancelling it cancels the calls."""
        return await self._run(self._core.score(items, members, timeout))

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
        return await self._run(self._core.rank(prompt, candidates, top_n, members, timeout))

    async def score_tokens(
        self,
        items: Sequence[ScoreItem],
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[TokenScores | ScoreFailure]:
        """As `RewardClient.score_tokens`."""
        return await self._run(self._core.score_tokens(items, timeout))

    async def get_model(self, *, timeout: float | None = None) -> ModelInfo:  # noqa: ASYNC109
        """As `RewardClient.get_model`."""
        return await self._run(self._core.get_model(timeout))

    async def wait_until_ready(self, timeout: float) -> ModelInfo:  # noqa: ASYNC109
        """As `RewardClient.wait_until_ready`."""
        return await self._run(self._core.wait_until_ready(timeout))

    @property
    def counts(self) -> RetryCounts:
        """Calls and retries so far."""
        return self._core.budget.counts

    async def close(self) -> None:
        """Ends the calls under way with ClientClosed."""
        self._closed = True
        await self._connection.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @cached_property
    def _connection(
        self,
    ) -> Connection[grpc.aio.Channel]:  # of the event loop that uses it, not where the client is made
        return Connection(open_aio_channel, self.address, self._tls)

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
            if self._closed:
                raise ClientClosed("the reward client is closed")
            match command:
                case core.Call(method, request, timeout):
                    with request_span(method) as span:
                        metadata = (*self._key, *span.metadata)
                        call = getattr(self._connection.stub, method)
                        reply = await call(request, timeout=timeout, metadata=metadata)
                        span.answered(reply)
                        return reply
                case core.Wait(seconds):
                    await asyncio.sleep(seconds)
                    return None
                case core.Together(flows):
                    return await self._side_by_side(flows)
        except grpc.RpcError as error:
            return self._explained(error)
        except RewardError as error:
            return error
        except asyncio.CancelledError:  # by whoever cancelled the task, or by `close`
            if not self._closed or _is_being_cancelled():
                raise
            return ClientClosed("the reward client is closed")

    def _explained(self, error: grpc.RpcError) -> RewardError:
        explained = from_rpc(error, self.address)
        if isinstance(explained, ServerUnavailable):
            self._connection.renew()
        return explained

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


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
