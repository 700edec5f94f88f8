"""A reward server for tests: real gRPC on loopback, scored by a callable.

    with FakeRewardServer(lambda item: len(item.input.response) / 100) as server:
        assert RewardClient(server.address).score(items)

The callable may return a ScoreFailure for an item that shall fail; one for which it raises fails with INTERNAL.
`unavailable` makes the next calls fail as those of a server in trouble do.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from plaudit_client import serde, types
from plaudit_client.errors import InvalidRequest
from plaudit_client.status import DOMAIN
from plaudit_client.types import ModelInfo, ModelLimits, Provenance, ScoreFailure, ScoreItem
from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceServicer, add_RewardServiceServicer_to_server

Wire = TypeVar("Wire")

NAME = "models/fake/versions/1"
MODEL = ModelInfo(NAME, "fake", Provenance(NAME, "1", "", "", "", "float64"), ModelLimits())


def _watch(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    """Health as clients watch it, by hand: grpcio-health-checking is no dependency of the client."""
    over = threading.Event()
    context.add_callback(over.set)
    yield b"\x08\x01"  # HealthCheckResponse(status=SERVING)
    over.wait()


HEALTH = grpc.method_handlers_generic_handler(
    "grpc.health.v1.Health", {"Watch": grpc.unary_stream_rpc_method_handler(_watch)}
)


class FakeRewardServer(RewardServiceServicer):
    """Listens from the start; leave the `with` block, or `close`, to end it."""

    def __init__(
        self,
        score: Callable[[ScoreItem], float | ScoreFailure],
        *,
        tokens: Callable[[ScoreItem], Sequence[types.TokenScore]] | None = None,
        model: ModelInfo = MODEL,
        port: int = 0,
    ) -> None:
        """`score`, and `tokens` for `score_tokens`, run in the server's threads: for several requests at once.

        Port 0 takes a free one.
        """
        self._score, self._tokens = score, tokens
        self.model = model
        """May be replaced at any time, as in a hot swap."""
        self._lock = threading.Lock()
        self._unavailable, self._reason = 0, ""
        self._retry_after: float | None = None
        self.requests: list[tuple[ScoreItem, ...]] = []
        """The items of every scoring request that got through, in the order of arrival."""
        self.refused = 0
        """Calls turned away as unavailable."""
        self._server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        add_RewardServiceServicer_to_server(self, self._server)
        self._server.add_generic_rpc_handlers((HEALTH,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        self._server.start()

    def unavailable(self, calls: int, *, reason: str = "QUEUE_FULL", retry_after: float | None = None) -> None:
        """Turns the next `calls` calls away, with RetryInfo when `retry_after` (seconds) is given."""
        with self._lock:
            self._unavailable, self._reason, self._retry_after = calls, reason, retry_after

    def close(self) -> None:
        """Ends at once; calls under way fail."""
        self._server.stop(grace=None).wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def Score(self, request: pb.ScoreRequest, context: grpc.ServicerContext) -> pb.ScoreResponse:  # noqa: N802
        """Called by gRPC."""
        self._admit(request.model, context)
        items = self._read(request, request.items, serde.item_from_pb, context)
        results = [serde.result_to_pb(self._result(item)) for item in items]
        return pb.ScoreResponse(results=results, model=serde.provenance_to_pb(self.model.provenance))

    def RankCandidates(  # noqa: N802
        self, request: pb.RankCandidatesRequest, context: grpc.ServicerContext
    ) -> pb.RankCandidatesResponse:
        """Called by gRPC; each candidate is scored as an item of its own."""
        self._admit(request.model, context)
        if request.top_n < 0:
            _abort(context, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", "top_n must not be negative")
        read = functools.partial(serde.candidate_from_pb, request)
        items = self._read(request, request.candidates, read, context)
        ranking = _rank([self._result(item) for item in items], request.top_n)
        return serde.ranking_result_to_pb(ranking, self.model.provenance)

    def ScoreTokens(  # noqa: N802
        self, request: pb.ScoreTokensRequest, context: grpc.ServicerContext
    ) -> pb.ScoreTokensResponse:
        """Called by gRPC."""
        self._admit(request.model, context)
        if self._tokens is None:
            _abort(context, code_pb2.FAILED_PRECONDITION, "WRONG_METHOD", "this fake was given no `tokens`")
        items = self._read(request, request.items, serde.item_from_pb, context)
        results = [serde.token_result_to_pb(self._token_result(self._tokens, item)) for item in items]
        return pb.ScoreTokensResponse(results=results, model=serde.provenance_to_pb(self.model.provenance))

    def GetModel(self, request: pb.GetModelRequest, context: grpc.ServicerContext) -> pb.GetModelResponse:  # noqa: N802
        """Called by gRPC."""
        self._admit(request.name, context)
        return pb.GetModelResponse(model=serde.model_to_pb(self.model))

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:  # noqa: N802
        """Called by gRPC."""
        self._admit("", context)
        return pb.ListModelsResponse(models=[serde.model_to_pb(self.model)])

    def _read(
        self, request: Message, wires: Sequence[Wire], read: Callable[[Wire], ScoreItem], context: grpc.ServicerContext
    ) -> tuple[ScoreItem, ...]:
        """The items of a request that is within the limits; recorded."""
        limits = self.model.limits
        if len(wires) > limits.max_items or request.ByteSize() > limits.max_request_bytes:
            _abort(context, code_pb2.INVALID_ARGUMENT, "BATCH_TOO_LARGE", f"the model takes {limits}")
        try:
            items = tuple(map(read, wires))
        except InvalidRequest as error:
            _abort(context, code_pb2.INVALID_ARGUMENT, error.reason, str(error))
        with self._lock:
            self.requests.append(items)
        return items

    def _result(self, item: ScoreItem) -> types.Score | ScoreFailure:
        try:
            value = self._score(item)
        except Exception as error:  # of the test's own callable
            return _broken(item, error)
        if isinstance(value, ScoreFailure):
            return dataclasses.replace(value, item_id=item.item_id)
        return types.Score(value, value, 0, False, 0, item_id=item.item_id, model=self.model.provenance)

    def _token_result(
        self, score: Callable[[ScoreItem], Sequence[types.TokenScore]], item: ScoreItem
    ) -> types.TokenScores | ScoreFailure:
        try:
            tokens = tuple(score(item))
        except Exception as error:  # of the test's own callable
            return _broken(item, error)
        return types.TokenScores(tokens, 0, 0, item_id=item.item_id, model=self.model.provenance)

    def _admit(self, model: str, context: grpc.ServicerContext) -> None:
        with self._lock:
            turned_away = self._unavailable > 0
            self._unavailable -= turned_away
            self.refused += turned_away
        if turned_away:
            _abort(context, code_pb2.UNAVAILABLE, self._reason, "told to be unavailable", self._retry_after)
        if model not in ("", self.model.name, self.model.name.partition("/versions/")[0]):
            _abort(context, code_pb2.NOT_FOUND, "MODEL_NOT_FOUND", f"no model {model!r}: there is {self.model.name}")


def _broken(item: ScoreItem, error: Exception) -> ScoreFailure:
    return ScoreFailure(item.item_id, "INTERNAL", f"{type(error).__name__}: {error}", "INTERNAL")


def _rank(results: Sequence[types.Score | ScoreFailure], top_n: int) -> types.Ranking:
    """The best `top_n` of them, or all where it is 0; equal scores stay in order."""
    ranked = [types.Ranked(index, result) for index, result in enumerate(results) if isinstance(result, types.Score)]
    ranked.sort(key=lambda one: one.score.value, reverse=True)
    unranked = [
        types.Unranked(index, result) for index, result in enumerate(results) if isinstance(result, ScoreFailure)
    ]
    return types.Ranking(tuple(ranked[: top_n or None]), tuple(unranked))


def _abort(
    context: grpc.ServicerContext, code: int, reason: str, message: str, retry_after: float | None = None
) -> NoReturn:
    details: list[ErrorInfo | RetryInfo] = [ErrorInfo(reason=reason, domain=DOMAIN)]
    if retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(int(retry_after * 1e9))
        details.append(retry)
    packed = [Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=code, message=message, details=packed)))
    raise AssertionError("abort_with_status raises")
