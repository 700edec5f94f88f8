"""How the connection is set up: load balanced, health checked, and without a retry policy of gRPC's."""

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import grpc
import grpc.aio

from plaudit_client.credentials import Contents, Tls
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceStub

Channel = TypeVar("Channel", grpc.Channel, grpc.aio.Channel)
Open = Callable[[str, Tls | None], Channel]

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # "" asks for the server's readiness. A server without the health service counts as ready.
    "healthCheckConfig": {"serviceName": ""},
}

OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),  # a DNS record must not bring a retry policy in
    ("grpc.max_send_message_length", -1),  # requests are split by the server's own limit
    ("grpc.max_receive_message_length", 64 << 20),
    # Connections of its own: gRPC would share them among all clients of a process, and a server takes 256 calls on one.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that restarts is found again within seconds; the default waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A connection that died without a word is dropped 10 s after something was sent on it (TCP_USER_TIMEOUT), or by a
    # ping. A server with default settings hangs up on pings more often than every 5 minutes.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),  # else gRPC stops asking after two
]


def open_channel(address: str, tls: Tls | None = None) -> grpc.Channel:
    """Connects when first used. `address` is any gRPC target: "host:port", "dns:///name:port", "unix:path"."""
    if tls is None:
        return grpc.insecure_channel(address, options=OPTIONS)
    return grpc.secure_channel(address, tls.contents().credentials(), options=[*OPTIONS, *tls.options()])


def open_aio_channel(address: str, tls: Tls | None = None) -> grpc.aio.Channel:
    """The same for the running event loop."""
    if tls is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    return grpc.aio.secure_channel(address, tls.contents().credentials(), options=[*OPTIONS, *tls.options()])


class Connection(Generic[Channel]):
    """A channel and its stub. gRPC never reads certificates again, so one with others takes its place.

    Calls under way on the old one go on: it is closed when the last of them has ended and nobody has it any more.
    """

    def __init__(self, opened: Open[Channel], address: str, tls: Tls | None) -> None:
        """Raises OSError."""
        self._opened: Open[Channel] = opened
        self._address, self._tls = address, tls
        self._changing = threading.Lock()
        self._connect(None if tls is None else tls.contents())

    def renew(self) -> None:
        """Nobody answered: perhaps for the certificates."""
        if self._tls is None:
            return
        with self._changing, contextlib.suppress(OSError):  # a file that is away is about to be another
            if (found := self._tls.contents()) != self._files:
                self._connect(found)

    def _connect(self, files: Contents | None) -> None:
        self._files = files
        self.channel: Channel = self._opened(self._address, self._tls)
        self.stub: RewardServiceStub = RewardServiceStub(self.channel)
