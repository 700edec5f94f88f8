"""The client that blocks: a driver of `core`."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from plaudit_client import core
from plaudit_client.base import MOST_AT_ONCE, PARALLEL, Client, closed
from plaudit_client.channel import open_channel
from plaudit_client.errors import RewardError
from plaudit_client.tracing import request_span
from plaudit_client.types import Candidate, Message, ModelInfo, Ranking, Score, ScoreFailure, ScoreItem, TokenScores

T = TypeVar("T")


class RewardClient(Client[grpc.Channel]):
    """Asks a reward server for scores; safe to use from several threads.

    with RewardClient("localhost:50051") as client:
        results = client.score([ScoreItem(TextPair("How long is delivery?", "Two days."))])
    """

    def score(
        self, items: Sequence[ScoreItem], *, members: bool = False, timeout: float | None = None
    ) -> list[Score | ScoreFailure]:
        """One result per item, in order, however many requests that takes; with the `members` of an ensemble, if asked.

        `timeout` bounds everything: splitting, waiting, retries. Raises RewardError when the call as a whole failed.
        """
        return self._ask(self._core.score(items, members, timeout))

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
        return self._ask(self._core.rank(prompt, candidates, top_n, members, timeout))

    def score_tokens(
        self, items: Sequence[ScoreItem], *, timeout: float | None = None
    ) -> list[TokenScores | ScoreFailure]:
        """As `score`, of a model that scores each token of the response (`ModelInfo.scores_tokens`)."""
        return self._ask(self._core.score_tokens(items, timeout))

    def get_model(self, *, timeout: float | None = None) -> ModelInfo:
        """What the server says about the model now."""
        return self._ask(self._core.get_model(timeout))

    def wait_until_ready(self, timeout: float) -> ModelInfo:
        """Blocks until the model answers; raises ServerUnavailable when it does not within `timeout` seconds."""
        return self._ask(self._core.wait_until_ready(timeout))

    def close(self, grace: float = 0.0) -> None:
        """Takes no new calls, gives those under way `grace` seconds, and ends the rest with ClientClosed.

        Leaving a `with` block gives them none.
        """
        try:
            with self._changed:
                self._closing = True
                self._changed.wait_for(lambda: not self._under_way, timeout=grace)
        finally:  # Ctrl-C ends the waiting, not the closing
            self._closed.set()
            self._connected(open_channel).channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        self._changed, self._closed = threading.Condition(), threading.Event()
        self._places = threading.Semaphore(MOST_AT_ONCE)
        self._connected(open_channel)  # here, so that threads share one

    def _ask(self, flow: core.Flow[T]) -> T:
        with self._as_one_under_way():
            return self._run(flow)

    @contextmanager
    def _as_one_under_way(self) -> Iterator[None]:
        with self._changed:
            if self._closing:
                raise closed()
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

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
                raise closed()
            match command:
                case core.Call(method, request, timeout):
                    with self._place(timeout) as left, request_span(method) as span:
                        metadata = (*self._key, *span.metadata)
                        call = getattr(self._connected(open_channel).stub, method)
                        reply = call(request, timeout=left, metadata=metadata)
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
            return closed()

    @contextmanager
    def _place(self, timeout: float) -> Iterator[float]:
        """One of those that may be under way; what is left of `timeout` by then."""
        began = time.monotonic()
        if not self._places.acquire(timeout=timeout):
            raise core.too_late()
        try:
            yield timeout - (time.monotonic() - began)
        finally:
            self._places.release()

    def _side_by_side(self, flows: list[core.Flow[Any]]) -> list[Any]:
        if len(flows) <= 1:
            return [self._run(flow) for flow in flows]
        pool = ThreadPoolExecutor(min(PARALLEL, len(flows)), thread_name_prefix="plaudit-client")
        try:
            contexts = [copy_context() for _ in flows]  # whose span is active
            return list(pool.map(lambda context, flow: context.run(self._run, flow), contexts, flows))
        finally:  # after an error or Ctrl-C, what has not begun never does; `close` ends what has
            pool.shutdown(wait=False, cancel_futures=True)
