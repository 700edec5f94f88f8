"""A server that answers every call of ours with one given status, as real servers and proxies do."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status


class Refusing(grpc.GenericRpcHandler):
    def __init__(self, code: grpc.StatusCode, message: str, details: Sequence[Message] | bytes):
        self._code, self._message, self._details = code, message, details

    def service(self, handler_call_details):
        ours = handler_call_details.method.startswith("/plaudit_protos.")
        return grpc.unary_unary_rpc_method_handler(self._refuse) if ours else None

    def _refuse(self, request, context):
        if isinstance(self._details, bytes):
            context.set_trailing_metadata((("grpc-status-details-bin", self._details),))
            context.abort(self._code, self._message)
        packed = [Any() for _ in self._details]
        for box, detail in zip(packed, self._details, strict=True):
            box.Pack(detail)
        status = status_pb2.Status(code=self._code.value[0], message=self._message, details=packed)
        context.abort_with_status(rpc_status.to_status(status))


@contextmanager
def refusing(
    code: grpc.StatusCode, message: str = "no", details: Sequence[Message] | bytes = (), port: int = 0
) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Refusing(code, message, details),))
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield address
    finally:
        server.stop(grace=None).wait()
