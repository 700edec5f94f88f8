"""Traces: who was at what while a step ran, over all processes, as OpenTelemetry has them.

    trainer                          rollout worker              reward server
    step ─┬─ generate ───────────────> worker.generate
          ├─ score ─── RewardService/Score ────────────────────> RewardService/Score ─┬─ tokenize
          ├─ evaluate                                                                 ├─ queue
          ├─ update                                                                   ├─ forward
          └─ sync                                                                     └─ encode

All of these are one trace, a step's. A worker is told its parent with its group, a server in W3C's `traceparent`.

In overlapped mode a response is asked for while one step runs, generated while a second does and learnt from in a
third: it belongs to none of them. What is asked for at one time has a trace of its own, whose root is `ask`, over
before the work that it asks for; and the step that learns from it has a link to that root.

Nothing is imported and nothing is done until `start`, which needs the extra `tracing`. Where no span is active, because
the step is not traced, no span is made. A span holds ids, counts and durations, never what people or models wrote, nor
what an error says: of that its type alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.settings import STRICT

if TYPE_CHECKING:
    from plaudit.telemetry.exporting import Exports

TRACES = "traces.jsonl"
Attribute = str | int | float
Record = Mapping[str, Any]
"""A span as a line of `traces.jsonl`: see `exporting`."""
Kind = Literal["INTERNAL", "CLIENT", "SERVER", "PRODUCER"]
Endpoint = Annotated[str, Field(pattern=r"^https?://[^/]")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExportSettings:
    """Where a server's spans go: those of the calls that bring a trace with them."""

    endpoint: Endpoint  # of a collector, OTLP over HTTP: http://host:4318


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunTracingSettings:
    """A run's traces: `traces.jsonl` in its folder, and a collector where one is named."""

    endpoint: Endpoint | None = None  # OTLP over HTTP: http://host:4318; the workers send theirs there too
    every: Annotated[int, Field(ge=1)] = 1  # of so many steps one is traced


class Span(Protocol):
    """What is done with a span once it has begun."""

    def set_attribute(self, key: str, value: Attribute) -> None:
        """For what is known only at its end."""
        ...


class _NoSpan:
    """Where nothing is traced."""

    def set_attribute(self, key: str, value: Attribute) -> None:
        pass


@plain_dataclass(frozen=True)
class _Tracing:
    """Of this process, once started."""

    exports: "Exports"
    every: int
    run: str


_tracing: _Tracing | None = None  # looked at once by each function: another thread may stop it meanwhile
_no_span = nullcontext(_NoSpan())


def start(service: str, endpoint: str | None, *, every: int = 1, run: str = "", file: Path | None = None) -> None:
    """From here on this process makes spans, as `service`. Raises ModuleNotFoundError without the extra `tracing`."""
    global _tracing
    from plaudit.telemetry.exporting import Exports

    _tracing = _Tracing(Exports(service, endpoint, file), every, run)


def stop() -> None:
    """Sends what is left, for a few seconds at most."""
    global _tracing
    if _tracing is not None:
        _tracing.exports.close()
        _tracing = None


def flush() -> None:
    """Sends what is there, for a few seconds at most."""
    if (on := _tracing) is not None:
        on.exports.flush()


def is_on() -> bool:
    """Whether this process makes spans."""
    return _tracing is not None


def step(number: int) -> AbstractContextManager[Span]:
    """The root of a step's trace, if this is a step that is traced."""
    if (on := _tracing) is None or number % on.every:
        return _no_span
    return on.exports.span("step", {"run": on.run, "step": number}, root=True)


def ask(version: int, max_staleness: int, requests: int) -> AbstractContextManager[Span]:
    """The root of what is asked for with the weights of `version`, if a step may learn from it that is traced."""
    if (on := _tracing) is None or all(number % on.every for number in range(version, version + max_staleness + 1)):
        return _no_span
    asked: dict[str, Attribute] = {"run": on.run, "policy_version": version, "requests": requests}
    return on.exports.span("ask", asked, root=True, kind="PRODUCER")


def span(name: str, kind: Kind = "INTERNAL") -> AbstractContextManager[Span]:
    """A child of the span that is active, and the active one inside the block; nothing where none is."""
    if (on := _tracing) is None or on.exports.traceparent() is None:
        return _no_span
    return on.exports.span(name, {}, kind=kind)


def stages(began: int, seconds: Mapping[str, float]) -> None:
    """What the span that is active was at from `began` (`time.time_ns()`) on until now, one stage after another."""
    if (on := _tracing) is not None and on.exports.traceparent() is not None:
        on.exports.stages(began, seconds)


def traceparent() -> str | None:
    """The span that is active, as it is named to another process; None where nothing is traced."""
    return None if (on := _tracing) is None else on.exports.traceparent()


def continued(parent: str | None) -> AbstractContextManager[object]:
    """Inside the block the span with this `traceparent`, of another process or thread, is the active one."""
    return nullcontext() if (on := _tracing) is None or parent is None else on.exports.continued(parent)


def link(parents: Sequence[str | None]) -> None:
    """The span that is active is also due to these, by their `traceparent`."""
    if (on := _tracing) is not None:
        on.exports.link(dict.fromkeys(parent for parent in parents if parent is not None))


class RemoteSpan:
    """A span whose other end is elsewhere."""

    def __init__(self) -> None:
        self.span: Span = _NoSpan()
        self.record: Record | None = None  # once it has ended: what goes back to whoever keeps the file


@contextmanager
def remote(name: str, parent: str | None, attributes: Mapping[str, Attribute]) -> Iterator[RemoteSpan]:
    """A child of a span of another process. It is not the active one: fit for generators."""
    made = RemoteSpan()
    if (on := _tracing) is None or parent is None:
        yield made
        return
    with on.exports.detached(name, parent, attributes) as span:
        made.span = span
        yield made
    made.record = on.exports.record(span)


def keep(record: Record | None) -> None:
    """Writes a span of another process into this one's file."""
    if (on := _tracing) is not None and record is not None:
        on.exports.keep(record)
