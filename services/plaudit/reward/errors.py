"""What can go wrong with a request, as domain errors; `status.py` has the one table that maps them to the wire.

RequestError
├── InvalidItem         the item breaks the contract: no input, wrong role, unknown enum number
├── TokenizerMismatch   token ids of another tokenizer
├── InputTooLong        more tokens than the model reads, and the policy is not to cut
├── TemplateFailed      the model's chat template refuses these messages
├── NonfiniteScore      the model put out NaN or infinity
├── CallableFailed      the operator's function raised, returned no number, or took too long
├── Declined            the people who were asked flagged the item, or passed it on
├── NotJudged           people did not get to the item in time
├── InvalidRequest      the call as a whole breaks the contract
├── BatchTooLarge       more items or bytes than `ModelLimits` says
├── WrongMethod         a model that scores tokens was asked for one score, or the other way round
├── ModelNotFound       no such model, or not in that version
├── ModelInUse          cannot be unloaded: callers, or an ensemble, go by it
├── FolderRefused       no reward model that can be served: the models that were there still are
├── Unauthenticated     no API key, or none of this server's
├── PermissionDenied    the key is not for this
├── QuotaExceeded       the client asked for more than its quota: come back when it is there again
├── DeadlineExpired     the caller's time was over before all its items were scored
├── DeviceFailed        the forward pass itself failed; the cause is in the server's log
└── Unavailable
    ├── QueueFull             overload: try again later
    ├── DeadlineUnreachable   what waits already takes longer than the caller's time
    ├── ModelLoading          not ready yet: try again soon
    ├── LoadUnderWay          another folder is being loaded: one at a time
    ├── Draining              shutting down: try another replica
    ├── DeviceLost            the model's process has ended, and the server is about to: try another replica
    └── DatabaseAway          where people's judgements are kept: what was asked is kept too, try again
"""


class RequestError(Exception):
    """An error whose text may be sent to the caller: it never holds prompt text or a foreign exception's message."""


class InvalidItem(RequestError):
    """`field` is the path inside the item, such as `conversation.messages`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class TokenizerMismatch(RequestError):
    """Ids mean something only with the tokenizer that made them."""

    def __init__(self) -> None:
        super().__init__("the token ids were not made by this model's tokenizer (ModelInfo.tokenizer_sha256)")


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

    def __init__(self, problem: str = "the model put out NaN or infinity") -> None:
        super().__init__(problem)


class CallableFailed(RequestError):
    """Says how the function failed, not with which text."""


class Declined(RequestError):
    """People would not judge this: asked again, they would not either."""


class NotJudged(RequestError):
    """Missing is not zero: nobody said anything of it, or too few did."""


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


class ModelInUse(RequestError):
    """`why` ends with what would let go of it."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"'{name}' cannot be unloaded: {why}")


class FolderRefused(RequestError):
    """Told to who may load models: it names files of the server."""


class WrongMethod(RequestError):
    """`methods` are those that this model answers."""

    def __init__(self, model: str, methods: str) -> None:
        super().__init__(f"model '{model}' answers {methods}")


class Unauthenticated(RequestError):
    """Says nothing of the key that was sent."""


class PermissionDenied(RequestError):
    """`scope` is the one that it takes."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"this takes an API key with the scope '{scope}'")
        self.scope = scope


class QuotaExceeded(RequestError):
    """`retry_after` is in seconds: the client's quota has then what this call takes."""

    def __init__(self, client: str, quota: str, retry_after: float) -> None:
        super().__init__(f"this client's quota of {quota} is used up")
        self.client, self.quota, self.retry_after = client, quota, retry_after


class Unavailable(RequestError):
    """Try again: `retry_after` is the server's guess, in seconds, of when it is worth it."""

    def __init__(self, problem: str, retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class QueueFull(Unavailable):
    """Overload."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the queue is full", retry_after)


class DeadlineUnreachable(Unavailable):
    """The queue alone takes longer than the caller's deadline leaves."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("what is queued takes longer than the deadline leaves", retry_after)


class ModelLoading(Unavailable):
    """The server is up, its models are not."""

    def __init__(self) -> None:
        super().__init__("the models are being loaded", 1.0)


class LoadUnderWay(Unavailable):
    """Two at a time would need the memory of both, and slow down who is scored meanwhile."""

    def __init__(self, model: str) -> None:
        super().__init__(f"models/{model} is being loaded, one at a time: ask again when it is there", 5.0)


class Draining(Unavailable):
    """Another replica may have room."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down", 1.0)


class DeviceLost(Unavailable):
    """Of the call as a whole: none of its items has a score, and no later call will have one here."""

    def __init__(self) -> None:
        super().__init__("the model's process has ended, and this server ends too", 1.0)


class DatabaseAway(Unavailable):
    """Of the call as a whole; what people are asked and what they said is there again when it is."""

    def __init__(self) -> None:
        super().__init__("the database of people's judgements does not answer", 1.0)


class DeadlineExpired(RequestError):
    """The call ends without an answer; what had not begun was not computed."""


class DeviceFailed(RequestError):
    """Distinct from INTERNAL errors in our own code: the model raised on this input."""
