"""The one table from domain errors to what callers see: a google.rpc.Status with exactly one ErrorInfo."""

from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from google.rpc.code_pb2 import Code

from plaudit.reward import errors

DOMAIN = "plaudit.reward"

TABLE: dict[type[errors.RequestError], tuple[Code.ValueType, str]] = {
    errors.InvalidItem: (Code.INVALID_ARGUMENT, "INVALID_ITEM"),
    errors.TokenizerMismatch: (Code.INVALID_ARGUMENT, "TOKENIZER_MISMATCH"),
    errors.InputTooLong: (Code.INVALID_ARGUMENT, "INPUT_TOO_LONG"),
    errors.TemplateFailed: (Code.INVALID_ARGUMENT, "TEMPLATE_ERROR"),
    errors.NonfiniteScore: (Code.INTERNAL, "NONFINITE_SCORE"),
    errors.CallableFailed: (Code.INTERNAL, "CALLABLE_FAILED"),
    errors.DeviceFailed: (Code.INTERNAL, "INTERNAL"),
    errors.Declined: (Code.INVALID_ARGUMENT, "DECLINED"),
    errors.NotJudged: (Code.DEADLINE_EXCEEDED, "NOT_JUDGED"),
    errors.InvalidRequest: (Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    errors.BatchTooLarge: (Code.INVALID_ARGUMENT, "BATCH_TOO_LARGE"),
    errors.ModelInUse: (Code.FAILED_PRECONDITION, "MODEL_IN_USE"),
    errors.FolderRefused: (Code.FAILED_PRECONDITION, "FOLDER_REFUSED"),
    errors.WrongMethod: (Code.FAILED_PRECONDITION, "WRONG_METHOD"),
    errors.ModelNotFound: (Code.NOT_FOUND, "MODEL_NOT_FOUND"),
    errors.Unauthenticated: (Code.UNAUTHENTICATED, "UNAUTHENTICATED"),
    errors.PermissionDenied: (Code.PERMISSION_DENIED, "PERMISSION_DENIED"),
    errors.QuotaExceeded: (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    errors.DeadlineExpired: (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    errors.QueueFull: (Code.UNAVAILABLE, "QUEUE_FULL"),
    errors.DeadlineUnreachable: (Code.UNAVAILABLE, "DEADLINE_UNREACHABLE"),
    errors.ModelLoading: (Code.UNAVAILABLE, "MODEL_LOADING"),
    errors.LoadUnderWay: (Code.UNAVAILABLE, "LOAD_UNDER_WAY"),
    errors.Draining: (Code.UNAVAILABLE, "DRAINING"),
    errors.DeviceLost: (Code.UNAVAILABLE, "DEVICE_LOST"),
    errors.DatabaseAway: (Code.UNAVAILABLE, "DATABASE_AWAY"),
}


def reason(error: Exception) -> str:
    """UPPER_SNAKE; INTERNAL for what is not ours."""
    return TABLE.get(type(error), (Code.INTERNAL, "INTERNAL"))[1]  # type: ignore[arg-type]


def to_status(error: Exception) -> status_pb2.Status:
    """Of a domain error with its text; of any other, INTERNAL without a word of it."""
    if not isinstance(error, errors.RequestError):
        return _status(Code.INTERNAL, "internal error; the server's log has it", details.ErrorInfo(reason="INTERNAL"))
    code, name = TABLE[type(error)]
    info = details.ErrorInfo(reason=name)
    if isinstance(error, errors.InputTooLong):
        info.metadata.update({"tokens": str(error.tokens), "limit": str(error.limit)})
    return _status(code, str(error), info, *_further(error))


def _further(error: errors.RequestError) -> list[message.Message]:
    """BadRequest, RetryInfo, QuotaFailure or ResourceInfo, where one fits."""
    if isinstance(error, errors.InvalidItem | errors.InvalidRequest):
        violation = details.BadRequest.FieldViolation(field=error.field, description=error.problem)
        return [details.BadRequest(field_violations=[violation])]
    if isinstance(error, errors.Unavailable):
        return [_retry(error.retry_after)]
    if isinstance(error, errors.QuotaExceeded):
        violation = details.QuotaFailure.Violation(subject=f"clients/{error.client}", description=error.quota)
        return [details.QuotaFailure(violations=[violation]), _retry(error.retry_after)]
    if isinstance(error, errors.ModelNotFound):
        return [details.ResourceInfo(resource_type="models", resource_name=error.name)]
    return []


def _retry(seconds: float) -> details.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    return details.RetryInfo(retry_delay=delay)


def _status(code: Code.ValueType, text: str, info: details.ErrorInfo, *further: message.Message) -> status_pb2.Status:
    info.domain = DOMAIN
    packed = [any_pb2.Any() for _ in (info, *further)]
    for box, detail in zip(packed, (info, *further), strict=True):
        box.Pack(detail)
    return status_pb2.Status(code=code, message=text, details=packed)
