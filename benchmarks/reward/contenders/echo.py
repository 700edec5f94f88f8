"""A bare grpc.aio server of the same messages: reads the request, returns an answer made beforehand. No interceptor.

    python -m contenders.echo READY

What it costs is what Python's gRPC costs; nobody can have it for less and keep the contract.
"""

import asyncio
import sys
from typing import Any

import grpc.aio
from child import write_ready

from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceServicer, add_RewardServiceServicer_to_server

RESULT = pb.ItemResult(score=pb.Score(score=1.0, raw_score=1.0))
PROVENANCE = pb.ModelProvenance(name="models/echo/versions/1", version="1", weights_sha256="0" * 64, dtype="float64")


class Echo(RewardServiceServicer):
    """Answers with as many scores as there are items; that is all it can do."""

    def __init__(self) -> None:
        self._answers: dict[int, pb.ScoreResponse] = {}

    async def Score(  # noqa: N802
        self, request: pb.ScoreRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ScoreResponse:
        """The same answer for every request of as many items."""
        count = len(request.items)
        if count not in self._answers:
            self._answers[count] = pb.ScoreResponse(results=[RESULT] * count, model=PROVENANCE)
        return self._answers[count]


async def serve(ready: str) -> None:
    """Until it is killed."""
    server = grpc.aio.server()
    add_RewardServiceServicer_to_server(Echo(), server)  # type: ignore[abstract]  # the other methods are not called
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    write_ready(ready, address=f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
