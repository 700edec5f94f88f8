"""What the wire says becomes the error tree, whole, and nothing of gRPC comes with it."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo

from plaudit_client import (
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    QuotaExceeded,
    RequestTooLarge,
    RetryPolicy,
    RewardError,
    ServerFault,
    ServerUnavailable,
    Unauthenticated,
)

from .drivers import DRIVERS, connected
from .refusing import refusing

pytestmark = pytest.mark.parametrize("driver", DRIVERS)
Code = grpc.StatusCode


def raised_for(driver, *answer) -> RewardError:
    with refusing(*answer) as address, connected(driver, address, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(RewardError) as raised:
            client.get_model(timeout=5)
        return raised.value


def info(reason: str, **metadata: str) -> ErrorInfo:
    return ErrorInfo(reason=reason, domain="plaudit.reward", metadata=metadata)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (Code.UNAVAILABLE, "", ServerUnavailable),
        (Code.UNAVAILABLE, "MODEL_LOADING", ServerUnavailable),
        (Code.UNAVAILABLE, "DRAINING", ServerUnavailable),
        (Code.UNAVAILABLE, "DEVICE_LOST", ServerUnavailable),
        (Code.UNAVAILABLE, "QUEUE_FULL", Overloaded),
        (Code.UNAVAILABLE, "DEADLINE_UNREACHABLE", Overloaded),
        (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED", QuotaExceeded),
        (Code.RESOURCE_EXHAUSTED, "", RequestTooLarge),
        (Code.INVALID_ARGUMENT, "BATCH_TOO_LARGE", RequestTooLarge),
        (Code.INVALID_ARGUMENT, "", InvalidRequest),
        (Code.FAILED_PRECONDITION, "", InvalidRequest),
        (Code.NOT_FOUND, "MODEL_NOT_FOUND", ModelNotFound),
        (Code.UNAUTHENTICATED, "UNAUTHENTICATED", Unauthenticated),
        (Code.PERMISSION_DENIED, "", Unauthenticated),
        (Code.DEADLINE_EXCEEDED, "", DeadlineExceeded),
        (Code.CANCELLED, "", ClientClosed),
        (Code.INTERNAL, "INTERNAL", ServerFault),
        (Code.UNKNOWN, "", ServerFault),
        (Code.UNIMPLEMENTED, "", ServerFault),
        (Code.DATA_LOSS, "", ServerFault),
    ],
)
def test_each_status_has_its_place_in_the_tree(driver, code, reason, kind):
    error = raised_for(driver, code, "no", [info(reason)] if reason else [])
    assert type(error) is kind
    assert error.reason == reason


def test_reason_metadata_and_wait_come_with_it(driver):
    details = [info("QUEUE_FULL", queued_items="512"), RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))]
    error = raised_for(driver, Code.UNAVAILABLE, "the queue\n is full", details)
    assert (error.reason, error.metadata, error.retry_after) == ("QUEUE_FULL", {"queued_items": "512"}, 1.5)
    assert str(error).startswith("reward server 127.0.0.1:")
    assert str(error).endswith(": the queue is full")


def test_other_details_do_no_harm(driver):
    error = raised_for(driver, Code.RESOURCE_EXHAUSTED, "no", [BadRequest(), QuotaFailure(), info("RATE_LIMITED")])
    assert type(error) is QuotaExceeded


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"", b"\x08\x05"])
def test_details_that_make_no_sense_are_as_good_as_none(driver, garbage):
    error = raised_for(driver, Code.NOT_FOUND, "no such model", garbage)
    assert type(error) is ModelNotFound
    assert error.reason == ""


def test_nothing_of_grpc_reaches_the_caller(driver):
    error = raised_for(driver, Code.INTERNAL, "broke")
    seen = [error]
    while seen[-1].__cause__ or seen[-1].__context__:
        seen.append(seen[-1].__cause__ or seen[-1].__context__)
    assert not any(isinstance(one, grpc.RpcError) for one in seen)
    assert not any(type(value).__module__.startswith("grpc") for value in vars(error).values())
