"""A span for each request, where the caller traces with OpenTelemetry: this package neither needs nor imports it.

Who has a span active has imported `opentelemetry.trace`; where nobody has, nothing is done. The server is told the
span in W3C's `traceparent`, and what its reply says of its stages becomes attributes of the span.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc

SERVICE = "RewardService"
SERVER_STAGES = {stage: f"reward.{stage}_s" for stage in ("tokenize", "queue", "forward")}
"""The server's stages, as its replies' `Timings` name them, and the attributes that hold their seconds."""


class RequestSpan:
    """Of one request; without a span it does nothing."""

    def __init__(self, span: Any = None) -> None:
        self._span = span
        self.metadata = () if span is None else (("traceparent", traceparent_of(span.get_span_context())),)

    def answered(self, reply: Any) -> None:
        """Reads where the server's time went."""
        timings = None if self._span is None else getattr(reply, "timings", None)
        if timings is not None:
            for stage, key in SERVER_STAGES.items():
                self._span.set_attribute(key, getattr(timings, stage).ToNanoseconds() / 1e9)


_UNTRACED = RequestSpan()


@contextmanager
def request_span(method: str) -> Iterator[RequestSpan]:
    """Around one call. Of an error the span keeps the code, never what it says."""
    trace = sys.modules.get("opentelemetry.trace")
    current = getattr(trace, "get_current_span", None)  # none yet while another thread imports it
    if trace is None or current is None or not current().get_span_context().is_valid:
        yield _UNTRACED
        return
    attributes = {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": method}
    kind, tracer = trace.SpanKind.CLIENT, trace.get_tracer("plaudit_client")
    span = tracer.start_span(f"{SERVICE}/{method}", kind=kind, attributes=attributes)
    try:
        yield RequestSpan(span)
    except grpc.RpcError as error:
        span.set_status(trace.StatusCode.ERROR, cast(grpc.Call, error).code().name)
        raise
    finally:
        span.end()


def traceparent_of(span_context: Any) -> str:
    """A span's context as W3C's Trace Context writes it."""
    return f"00-{span_context.trace_id:032x}-{span_context.span_id:016x}-{span_context.trace_flags:02x}"
