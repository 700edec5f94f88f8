"""What a call can raise. Callers never import grpc.

RewardError                  the call has no answer; `reason` and `metadata` as the server gave them
├── ServerUnavailable        nobody answers, the model is loading, or the server drains; the retries are used up
│   └── Overloaded           the server turned the call away: its queue is full or the deadline out of reach
├── QuotaExceeded            this caller asked for more than its quota, and has it again after `timeout` at the earliest
├── DeadlineExceeded         `timeout` went by
├── InvalidRequest           the server does not take this request, whoever sends it
│   └── RequestTooLarge      more items or bytes than the server takes
├── ModelNotFound            the server serves no model of this name
├── Unauthenticated          no credentials, or not the right ones
├── ClientClosed             `close()` was called while the call ran
└── ServerFault              the server broke: an internal error, or an answer that makes no sense

One item without a score raises nothing: it is a `ScoreFailure` in its place of the result.
"""

from collections.abc import Mapping
from types import MappingProxyType


class RewardError(Exception):
    """The message is fit to be shown to a user."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] = MappingProxyType({}),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """UPPER_SNAKE as listed in the .proto, e.g. "QUEUE_FULL"; empty when the transport itself failed."""
        self.metadata = dict(metadata)
        """What the server adds to the reason, e.g. the limit that was passed."""
        self.retry_after = retry_after
        """Seconds the server asks to wait before another try."""


class ServerUnavailable(RewardError):
    """Nobody answers, the model is loading, or the server drains; the retries are used up."""


class Overloaded(ServerUnavailable):
    """The server turned the call away: its queue is full or the deadline out of reach."""


class QuotaExceeded(RewardError):
    """This caller asked for more than its quota, and has it again after `timeout` at the earliest: `retry_after`."""


class DeadlineExceeded(RewardError):
    """`timeout` went by."""


class InvalidRequest(RewardError):
    """The server does not take this request, whoever sends it."""


class RequestTooLarge(InvalidRequest):
    """More items or bytes than the server takes."""


class ModelNotFound(RewardError):
    """The server serves no model of this name."""


class Unauthenticated(RewardError):
    """No credentials, or not the right ones."""


class ClientClosed(RewardError):
    """`close()` was called while the call ran."""


class ServerFault(RewardError):
    """The server broke: an internal error, or an answer that makes no sense."""
