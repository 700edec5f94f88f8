"""Logs as one JSON object a line on standard error, each with the id of the request it belongs to.

Never log what people wrote: fields are ids, counts, durations and reasons.
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Set by whoever takes a request in; every line logged below it carries it."""
client: ContextVar[str] = ContextVar("client", default="")
"""Who made the request; as `request_id`."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`{"time": ..., "level": ..., "logger": ..., "event": ..., "request_id": ..., "client": ..., <extra fields>}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; `extra={...}` of the call become fields, a traceback becomes `exception`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        of_request = {"request_id": request_id.get(), "client": client.get()}
        line |= {key: value for key, value in of_request.items() if value}
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str = "INFO") -> None:
    """Sends the logs of `plaudit` to standard error as JSON lines; other libraries' from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("plaudit").setLevel(level)
