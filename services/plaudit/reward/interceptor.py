"""The one place where errors become statuses."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from google.rpc.code_pb2 import Code

from plaudit.reward.aborting import Context, abort
from plaudit.reward.counting import Call, Counting
from plaudit.reward.status import to_status
from plaudit.telemetry import tracing

SERVICE = "plaudit_protos.reward.v1.RewardService"
ADMIN = "plaudit_protos.reward.v1.ModelAdminService"
LATENCY = 0.1
"""Seconds by which a caller's time may be over before ours: its call took as long to get here."""
Handler = Callable[[Any, Context], Awaitable[Any]]
Method: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the calls of our own services; health and reflection pass through."""

    def __init__(self, counting: Counting, arrived: Callable[[Context], None]) -> None:
        """`arrived` is told of each call before it is answered."""
        self._counting, self._arrived = counting, arrived
        self._wrapped: dict[str, Method] = {}  # by the whole name of a method of ours

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
            if handler is None or service not in (SERVICE, ADMIN):
                return handler
            self._wrapped[name] = grpc.unary_unary_rpc_method_handler(
                self._wrap(service.rpartition(".")[2], method, cast(Handler, handler.unary_unary)),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return self._wrapped[name]

    def _wrap(self, service: str, method: str, handle: Handler) -> Handler:
        async def counted(request: Any, context: Context) -> Any:
            call = Call(method, service)
            call.model = getattr(request, "model", getattr(request, "name", ""))
            call.gave_up = lambda: _gave_up(context)
            self._arrived(context)
            try:
                with self._counting.counted(call, getattr(request, "request_id", ""), _traceparent(context)):
                    return await handle(request, context)
            except Exception as error:
                await abort(context, to_status(error), error)

        return counted


def _gave_up(context: Context) -> Code.ValueType:
    """As the caller sees it: by its own will or, as far as can be told from here, because its time was over."""
    left = context.time_remaining()
    return Code.CANCELLED if left is None or left > LATENCY else Code.DEADLINE_EXCEEDED


def _traceparent(context: Context) -> str | None:
    """Of the caller's span, where spans are made here and it sent one."""
    sent = (context.invocation_metadata() or ()) if tracing.is_on() else ()
    return next((value for key, value in sent if key == "traceparent" and isinstance(value, str)), None)
