"""The one table from gRPC status to the error tree."""

from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from plaudit_client import errors

DOMAIN = "plaudit.reward"
"""Of every `ErrorInfo` of a reward server."""

BY_CODE: dict[grpc.StatusCode, type[errors.RewardError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.ServerUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.FAILED_PRECONDITION: errors.InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequest,
    grpc.StatusCode.NOT_FOUND: errors.ModelNotFound,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.Unauthenticated,
    grpc.StatusCode.CANCELLED: errors.ClientClosed,
    # The transport's own, for a message above its limit, carries no reason; the server's quota (below) does.
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.RequestTooLarge,
}
BY_REASON: dict[str, type[errors.RewardError]] = {
    "QUEUE_FULL": errors.Overloaded,
    "DEADLINE_UNREACHABLE": errors.Overloaded,
    "RATE_LIMITED": errors.QuotaExceeded,
    "BATCH_TOO_LARGE": errors.RequestTooLarge,
}


def from_rpc(error: grpc.RpcError, address: str) -> errors.RewardError:
    """The domain error for what a call to `address` ended in, sync or asyncio."""
    call = cast(grpc.Call, error)  # or an AioRpcError, which is no Call but answers the same three questions
    code, details, status = call.code(), call.details(), status_of(call)
    info, retry = error_info(status), error_details_pb2.RetryInfo()
    kind = BY_REASON.get(info.reason) or BY_CODE.get(code, errors.ServerFault)
    if code is grpc.StatusCode.UNAVAILABLE and not issubclass(kind, errors.ServerUnavailable):
        kind = errors.ServerUnavailable
    return kind(
        f"reward server {address}: {' '.join((details or code.name).split())}",
        reason=info.reason,
        metadata=info.metadata,
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if _unpack(status, retry) else None,
    )


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """Of `status`; an empty one when it carries none."""
    info = error_details_pb2.ErrorInfo()
    _unpack(status, info)
    return info


def status_of(call: grpc.Call) -> status_pb2.Status:
    """The richer status that came with the error; an empty one where none did."""
    try:
        return rpc_status.from_call(call) or status_pb2.Status()
    except (ValueError, DecodeError):  # details that contradict the code or are no protobuf are as good as none
        return status_pb2.Status()


def _unpack(status: status_pb2.Status, into: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> bool:
    try:
        return any(detail.Unpack(into) for detail in status.details)
    except DecodeError:
        return False
