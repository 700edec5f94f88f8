"""Errors as HTTP has them, before a form puts them into its own words.

A caller's mistake is a 4xx, which clients do not try again; what may go better next time is a 5xx. Overload is a 503
with Retry-After, never a 429: verl gives a sample up at the first 4xx.
"""

import math
from typing import NamedTuple

from google.rpc.code_pb2 import Code

from plaudit.reward.errors import BatchTooLarge, InvalidItem, InvalidRequest
from plaudit.reward.status import reason, to_status

STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 503,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
LEAST_WAIT = 1.0
"""Seconds of Retry-After, which are whole ones."""


class Problem(NamedTuple):
    """Why there is no score."""

    status: int
    reason: str  # UPPER_SNAKE, as in ErrorInfo
    text: str
    code: Code.ValueType  # gRPC's
    field: str | None = None
    retry_after: float | None = None
    error: Exception | None = None

    def headers(self) -> dict[str, str]:
        """Those that HTTP itself knows."""
        headers = {}
        if self.status == 503:
            headers["retry-after"] = str(math.ceil(max(LEAST_WAIT, self.retry_after or 0.0)))
        if self.status in (413, 504):
            headers["connection"] = "close"  # some of the body may not have been read
        if self.status == 401:
            headers["www-authenticate"] = 'Bearer realm="plaudit", Basic realm="plaudit"'
        return headers


def problem(error: Exception, at: int | None = None) -> Problem:
    """`at` is the item that it is about, where it is about one. Says no word of an error that is not ours."""
    status = to_status(error)
    text = status.message if at is None else f"item {at}: {status.message}"
    code = 413 if isinstance(error, BatchTooLarge) else STATUS.get(status.code, 500)
    field = error.field if isinstance(error, InvalidItem | InvalidRequest) else None
    wait = getattr(error, "retry_after", None)
    return Problem(code, reason(error), text, Code.ValueType(status.code), field, wait, error)
