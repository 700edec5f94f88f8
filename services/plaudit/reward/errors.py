"""What can go wrong with a request, as domain errors; `status.py` has the one table that maps them to the wire.

RequestError
├── InvalidItem         the item breaks the contract: no input, wrong role, unknown enum number, foreign token ids
├── InputTooLong        more tokens than the model reads, and the policy is not to cut
├── TemplateFailed      the model's chat template refuses these messages
├── NonfiniteScore      the model put out NaN or infinity
├── CallableFailed      the operator's function raised, returned no number, or took too long
├── InvalidRequest      the call as a whole breaks the contract
├── BatchTooLarge       more items or bytes than `ModelLimits` says
├── ModelNotFound       no such model, or not in that version
├── QueueFull           overload: try again later
├── Draining            shutting down: try another replica
├── DeadlineExpired     the caller's time was over before the forward pass began
└── DeviceFailed        the forward pass itself failed; the cause is in the server's log
"""


class RequestError(Exception):
    """An error whose text may be sent to the caller: it never holds prompt text or a foreign exception's message."""


class InvalidItem(RequestError):
    """`field` is the path inside the item, such as `conversation.messages`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class InputTooLong(RequestError):
    """Counts are tokens."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the input has {tokens} tokens, the model reads {limit}")
        self.tokens = tokens
        self.limit = limit


class TemplateFailed(RequestError):
    """Raised when the chat template calls `raise_exception` or cannot place the messages."""


class NonfiniteScore(RequestError):
    """Missing is not zero: the item has no score."""


class CallableFailed(RequestError):
    """Says how the function failed, not with which text."""


class InvalidRequest(RequestError):
    """`field` is the path inside the request."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class BatchTooLarge(RequestError):
    """The caller should split by `GetModel`'s limits."""


class ModelNotFound(RequestError):
    """`name` is what the caller asked for."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no model '{name}' here; served: {', '.join(known)}")
        self.name = name


class QueueFull(RequestError):
    """`retry_after` is the server's guess, in seconds, of when there is room."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the queue is full")
        self.retry_after = retry_after


class Draining(RequestError):
    """`retry_after` in seconds."""

    def __init__(self, retry_after: float = 1.0) -> None:
        super().__init__("the server is shutting down")
        self.retry_after = retry_after


class DeadlineExpired(RequestError):
    """Nothing was computed for the item."""


class DeviceFailed(RequestError):
    """Distinct from INTERNAL errors in our own code: the model raised on this input."""
