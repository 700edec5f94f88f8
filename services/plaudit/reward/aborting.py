"""How a gRPC call ends in an error: its status in the trailers, and when to come back."""

from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.rpc import status_pb2

from plaudit.reward.errors import Unavailable

CODES = {code.value[0]: code for code in grpc.StatusCode}
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def abort(context: Context, status: status_pb2.Status, error: Exception) -> None:
    """Raises what ends the call."""
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if isinstance(error, Unavailable):
        trailers.append(("grpc-retry-pushback-ms", str(round(error.retry_after * 1000))))
    await context.abort(CODES[status.code], status.message, tuple(trailers))
