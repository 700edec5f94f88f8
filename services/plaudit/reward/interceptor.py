"""The one place where errors become statuses and calls are counted."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from google.rpc import status_pb2
from google.rpc.code_pb2 import Code

from plaudit.reward.catalog import Catalog
from plaudit.reward.errors import RequestError, Unavailable
from plaudit.reward.metrics import Metrics
from plaudit.reward.status import TABLE, reason, to_status
from plaudit.telemetry import tracing
from plaudit.telemetry.logs import request_id

log = logging.getLogger(__name__)

SERVICE = "plaudit_protos.reward.v1.RewardService"
CODES = {code.value[0]: code for code in grpc.StatusCode}
LATENCY = 0.1
"""Seconds by which a caller's time may be over before ours: its call took as long to get here."""
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler = Callable[[Any, Context], Awaitable[Any]]
Method: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the calls of RewardService; health and reflection pass through."""

    def __init__(self, catalog: Catalog, metrics: Metrics) -> None:
        self._catalog, self._metrics = catalog, metrics
        self._inflight = 0
        metrics.inflight.set_function(lambda: self._inflight)
        self._wrapped: dict[str, Method] = {}  # by the whole name of a method of ours
        self.idle = asyncio.Event()  # set while no call is being answered
        self.idle.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Method]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Method:
        """As grpc.aio asks."""
        name = str(handler_call_details.method)
        if name not in self._wrapped:
            handler = await continuation(handler_call_details)
            service, _, method = name.lstrip("/").partition("/")
            if handler is None or service != SERVICE:
                return handler
            self._wrapped[name] = grpc.unary_unary_rpc_method_handler(
                self._wrap(method, cast(Handler, handler.unary_unary)),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return self._wrapped[name]

    def _wrap(self, method: str, call: Handler) -> Handler:
        async def counted(request: Any, context: Context) -> Any:
            began = time.monotonic()
            request_id.set(_request_id(request))
            code = Code.OK
            self._entered(+1)
            try:
                with tracing.continued(_traceparent(context)), tracing.span(f"RewardService/{method}", "SERVER"):
                    return await call(request, context)
            except asyncio.CancelledError:
                code = _gave_up(context)
                self._metrics.cancelled.labels("call").inc(code == Code.CANCELLED)
                raise
            except Exception as error:
                status = self._status(error)
                code = Code.ValueType(status.code)
                await _abort(context, status, error)
            finally:
                self._entered(-1)
                self._metrics.called(method, self._label(request), Code.Name(code), time.monotonic() - began)

        return counted

    def _entered(self, change: int) -> None:
        self._inflight += change
        if self._inflight:
            self.idle.clear()
        else:
            self.idle.set()

    def _status(self, error: Exception) -> status_pb2.Status:
        if not isinstance(error, RequestError):
            log.exception("a call failed")
        elif TABLE[type(error)][0] not in (Code.INTERNAL, Code.DEADLINE_EXCEEDED):
            self._metrics.rejected.labels(reason(error)).inc()
        return to_status(error)

    def _label(self, request: Any) -> str:
        """The model's own name, never the caller's spelling of it."""
        try:
            return self._catalog.find(getattr(request, "model", getattr(request, "name", ""))).card.name
        except RequestError:
            return "unknown"


def _gave_up(context: Context) -> Code.ValueType:
    """As the caller sees it: by its own will or, as far as can be told from here, because its time was over."""
    left = context.time_remaining()
    return Code.CANCELLED if left is None or left > LATENCY else Code.DEADLINE_EXCEEDED


async def _abort(context: Context, status: status_pb2.Status, error: Exception) -> None:
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if isinstance(error, Unavailable):
        trailers.append(("grpc-retry-pushback-ms", str(round(error.retry_after * 1000))))
    await context.abort(CODES[status.code], status.message, tuple(trailers))


def _traceparent(context: Context) -> str | None:
    """Of the caller's span, where spans are made here and it sent one."""
    sent = (context.invocation_metadata() or ()) if tracing.is_on() else ()
    return next((value for key, value in sent if key == "traceparent" and isinstance(value, str)), None)


def _request_id(request: Any) -> str:
    """The caller's, where it is short and printable; else one of our own."""
    given = str(getattr(request, "request_id", ""))
    return given if given and len(given) <= 128 and given.isprintable() else f"{random.getrandbits(64):016x}"
