"""The calls under way, over gRPC and HTTP alike: how many there are, and how each one ended."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from google.rpc.code_pb2 import Code

from plaudit.reward.catalog import Catalog
from plaudit.reward.errors import RequestError
from plaudit.reward.metrics import Metrics
from plaudit.reward.status import TABLE, reason
from plaudit.telemetry import tracing
from plaudit.telemetry.logs import request_id

log = logging.getLogger(__name__)


class Call:
    """One call under way. Who answers it says what is known of it only then."""

    def __init__(self, method: str, service: str = "RewardService") -> None:
        self.method, self.service = method, service
        self.model = ""  # the caller's spelling; the metrics get the model's own name
        self.code: Code.ValueType = Code.OK
        self.gave_up: Callable[[], Code.ValueType] = lambda: Code.CANCELLED  # how a call that is cancelled ended


class Counting:
    """Drain waits until it is `idle`."""

    def __init__(self, catalog: Catalog, metrics: Metrics) -> None:
        self._catalog, self._metrics = catalog, metrics
        self._inflight = 0
        metrics.inflight.set_function(lambda: self._inflight)
        self.idle = asyncio.Event()  # set while no call is being answered
        self.idle.set()

    @contextmanager
    def counted(self, call: Call, given_id: str, traceparent: str | None) -> Iterator[None]:
        """Counts the block as a call, by how it ends; what it raises goes on."""
        began = time.monotonic()
        name_request(given_id)
        self._entered(+1)
        try:
            with tracing.continued(traceparent), tracing.span(f"{call.service}/{call.method}", "SERVER"):
                yield
        except asyncio.CancelledError:
            call.code = call.gave_up()
            self._metrics.cancelled.labels("call").inc(call.code == Code.CANCELLED)
            raise
        except Exception as error:
            call.code = self._code(error)
            raise
        finally:
            self._entered(-1)
            seconds = time.monotonic() - began
            code = Code.Name(call.code)
            self._metrics.called(call.method, self._catalog.label(call.model), code, seconds)
            if log.isEnabledFor(logging.DEBUG):
                log.debug("call", extra={"method": call.method, "code": code, "seconds": round(seconds, 6)})

    def _entered(self, change: int) -> None:
        self._inflight += change
        if self._inflight:
            self.idle.clear()
        else:
            self.idle.set()

    def _code(self, error: Exception) -> Code.ValueType:
        if not isinstance(error, RequestError):
            log.exception("a call failed")
            return Code.INTERNAL
        code = TABLE[type(error)][0]
        if code not in (Code.INTERNAL, Code.DEADLINE_EXCEEDED):
            self._metrics.rejected.labels(reason(error)).inc()
        return code


def name_request(given: str) -> None:
    """By the caller's own id, where that is short and printable; else by one of ours."""
    usable = given and len(given) <= 128 and given.isprintable()
    request_id.set(given if usable else f"{random.getrandbits(64):016x}")
