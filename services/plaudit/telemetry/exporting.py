"""What `tracing` does once it is on: spans by OpenTelemetry's SDK, to a collector and into a file. Needs that extra.

To the collector they go in batches, by a thread of their own with a bounded queue: where nobody takes them they are
dropped, and it is said once. Headers (a token, say) come from the environment, `OTEL_EXPORTER_OTLP_HEADERS`.

A line of the file is one span that has ended, of this process or of one that sent it here; times in seconds:

    {"trace": 32 hex digits, "span": 16, "parent": 16 or null, "name": "update", "service": "trainer",
     "start": since 1970, "seconds": 0.31, "attributes": {...}, "links": [a trace, ...], "error": null or its type}

A reward server sends no spans to its callers; its replies say how long its stages took, and the client's span has those
as attributes. From these the file gets spans of `reward server`, laid into the middle of the request: they need no
clock that two machines share.
"""

import json
import logging
import random
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from plaudit.telemetry.tracing import Attribute, Kind, Record
from plaudit_client.tracing import SERVER_STAGES, traceparent_of

logger = logging.getLogger(__name__)

SEND_EVERY_S = 0.5
SEND_TIMEOUT_S = 2.0
"""For one batch, tries included: a collector that is away holds up the end of a process for two of these at most."""
MOST_WAITING, MOST_AT_ONCE = 4096, 2048
"""Spans."""
W3C = TraceContextTextMapPropagator()


class _Current(trace.TracerProvider):
    """The process's own, for the client's spans: OpenTelemetry takes one for good, a process may start traces twice."""

    _taken: trace.TracerProvider | None = None

    def take(self, provider: TracerProvider) -> None:
        """From now on it is this one."""
        if self._taken is None:
            trace.set_tracer_provider(self)
        self._taken = provider

    def get_tracer(self, *arguments: Any, **named: Any) -> trace.Tracer:
        """As OpenTelemetry asks."""
        assert self._taken is not None
        return self._taken.get_tracer(*arguments, **named)


CURRENT = _Current()


class Exports:
    """A provider of spans and where it sends them."""

    def __init__(self, service: str, endpoint: str | None, file: Path | None) -> None:
        resource = Resource.create({"service.name": f"plaudit {service}", "host.name": socket.gethostname()})
        self._provider = TracerProvider(resource=resource)
        self._file = None if file is None else TraceFile(service, file)
        self._service = service
        if self._file is not None:
            self._provider.add_span_processor(SimpleSpanProcessor(self._file))
        self._sender = (
            None if endpoint is None else _Sender(f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_TIMEOUT_S)
        )
        if self._sender is not None:
            self._provider.add_span_processor(_in_batches(self._sender))
        self._tracer = self._provider.get_tracer("plaudit")
        CURRENT.take(self._provider)

    def span(
        self, name: str, attributes: Mapping[str, Attribute], *, root: bool = False, kind: Kind = "INTERNAL"
    ) -> AbstractContextManager[trace.Span]:
        """Active inside the block."""
        parent = context.Context() if root else None
        begun = self._tracer.start_span(name, parent, kind=trace.SpanKind[kind], attributes=attributes)
        return _ending(begun, active=True)

    def detached(
        self, name: str, parent: str, attributes: Mapping[str, Attribute]
    ) -> AbstractContextManager[trace.Span]:
        """Not active."""
        return _ending(self._tracer.start_span(name, _context(parent), attributes=attributes), active=False)

    def stages(self, began: int, seconds: Mapping[str, float]) -> None:
        """As `tracing.stages`; what would end after now ends now."""
        at, now = began, time.time_ns()
        for name, spent in seconds.items():
            until = min(at + round(spent * 1e9), now)
            self._tracer.start_span(name, start_time=at).end(until)
            at = until

    def traceparent(self) -> str | None:
        """Of the active span, where it is recorded or another process's."""
        active = trace.get_current_span().get_span_context()
        return traceparent_of(active) if active.is_valid else None

    @contextmanager
    def continued(self, parent: str) -> Iterator[None]:
        """See `tracing.continued`."""
        token = context.attach(_context(parent))
        try:
            yield
        finally:
            context.detach(token)

    def link(self, parents: Iterable[str]) -> None:
        """See `tracing.link`."""
        for parent in parents:
            trace.get_current_span().add_link(trace.get_current_span(_context(parent)).get_span_context())

    def record(self, span: trace.Span) -> Record | None:
        """Of a span that has ended; None of one that is not recorded."""
        return _record(span, self._service) if isinstance(span, ReadableSpan) else None

    def keep(self, record: Record) -> None:
        """See `tracing.keep`."""
        if self._file is not None:
            self._file.write([record])

    def flush(self) -> None:
        """See `tracing.flush`."""
        self._provider.force_flush()

    def close(self) -> None:
        """See `tracing.stop`."""
        if self._sender is not None:
            self._sender.closing = True
        self._provider.shutdown()


class TraceFile(SpanExporter):
    """Appends at once: a line costs less than handing it to another thread."""

    def __init__(self, service: str, path: Path) -> None:
        self._service, self._path, self._writing = service, path, Lock()
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the SDK asks."""
        self.write([_record(span, self._service) for span in spans])
        return SpanExportResult.SUCCESS

    def write(self, records: Sequence[Record]) -> None:
        """These, and a server's stages after the request that they were told with."""
        lines = "".join(f"{json.dumps(line)}\n" for record in records for line in (record, *_stages(record)))
        with self._writing:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write("\n" * self._failed + lines)  # what was written half is no part of the next line
            except OSError as error:  # a run does not end for want of its traces
                if not self._failed:
                    logger.warning("%s cannot be written (%s): spans are lost (said once)", self._path, error.strerror)
                self._failed = True


class _Sender(OTLPSpanExporter):
    """Says once that nobody takes the spans, where the SDK would say so every second; at the end it gives up then."""

    away = said = closing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.away and self.closing:
            return SpanExportResult.FAILURE
        result = super().export(spans)
        self.away = result is SpanExportResult.FAILURE
        if self.away and not self.said:
            self.said = True
            logger.warning(
                "spans could not be sent to %s and are dropped: is a collector there that takes OTLP over HTTP? "
                "(said once)",
                self._endpoint,
            )
        return result


def _in_batches(sender: _Sender) -> BatchSpanProcessor:
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    return BatchSpanProcessor(
        sender,
        max_queue_size=MOST_WAITING,
        schedule_delay_millis=1000 * SEND_EVERY_S,
        max_export_batch_size=MOST_AT_ONCE,
    )


@contextmanager
def _ending(span: trace.Span, *, active: bool) -> Iterator[trace.Span]:
    """Ends it with the block; of an error it keeps the type, for what an error says may quote a prompt."""
    token = context.attach(trace.set_span_in_context(span)) if active else None
    try:
        yield span
    except Exception as error:
        span.set_status(trace.StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        if token is not None:
            context.detach(token)
        span.end()


def _context(parent: str) -> context.Context:
    return W3C.extract({"traceparent": parent}, context.Context())


def _record(span: ReadableSpan, service: str) -> dict[str, Any]:
    """A line of the file."""
    here, began, ended = span.get_span_context(), span.start_time or 0, span.end_time or 0
    assert here is not None
    return {
        "trace": f"{here.trace_id:032x}",
        "span": f"{here.span_id:016x}",
        "parent": None if span.parent is None else f"{span.parent.span_id:016x}",
        "name": span.name,
        "service": service,
        "start": began / 1e9,
        "seconds": (ended - began) / 1e9,
        "attributes": dict(span.attributes or {}),
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
        "error": None if span.status.is_ok else span.status.description,
    }


def _stages(record: Record) -> Iterator[Record]:
    """Those of the server that a client's span tells of, inside it: the last of several batches may be the shortest."""
    told = {stage: record["attributes"].get(key) for stage, key in SERVER_STAGES.items()}
    known = {stage: seconds for stage, seconds in told.items() if seconds}
    end = record["start"] + record["seconds"]
    start = record["start"] + max(0.0, record["seconds"] - sum(known.values())) / 2
    for stage, seconds in known.items():
        until = min(start + seconds, end)
        made = {"span": f"{random.getrandbits(64):016x}", "parent": record["span"], "name": stage}
        times = {"start": start, "seconds": until - start, "attributes": {}, "links": [], "error": None}
        yield {"trace": record["trace"], **made, "service": "reward server", **times}
        start = until
