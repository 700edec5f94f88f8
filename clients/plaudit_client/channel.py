"""How the connection is set up: load balanced, health checked, and without a retry policy of gRPC's."""

import json

import grpc
import grpc.aio

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


def open_channel(address: str) -> grpc.Channel:
    """Connects when first used. `address` is any gRPC target: "host:port", "dns:///name:port", "unix:path"."""
    return grpc.insecure_channel(address, options=OPTIONS)


def open_aio_channel(address: str) -> grpc.aio.Channel:
    """The same for the running event loop."""
    return grpc.aio.insecure_channel(address, options=OPTIONS)
