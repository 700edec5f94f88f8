"""What the server does with connections (gRPC A8 and A9): old ones are closed, silent ones asked for a sign of life.

A client looks names up again only when a connection closes, and behind a balancer of connections it keeps the replica
that it met first: without an age a new replica would get no load. Closing is graceful: GOAWAY, the calls under way
finish, new ones go over a new connection, and no call fails. gRPC adds or takes off up to a tenth of the age, so that
clients who connected together do not come back together.
"""

from plaudit.reward.settings import ServerSettings

LONGEST_CALL = 600.0
"""Seconds that a call may still take on a connection which has reached its age; then it is cut. People take theirs."""
MARGIN = 60.0
"""Seconds beyond the time that people have, for the rest of a call."""
NO_ANSWER_MS = 20_000
"""After an unanswered ping the connection is closed (the default of A8)."""
MOST_CALLS = 256
"""Of one connection at a time, so that a client who never reads its answers fills no memory; more are refused."""


def options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Channel arguments of the gRPC server."""
    return [
        ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server on it
        ("grpc.max_receive_message_length", settings.limits.max_request_bytes),
        ("grpc.max_concurrent_streams", MOST_CALLS),
        ("grpc.max_connection_age_ms", _ms(settings.max_connection_age)),
        ("grpc.max_connection_age_grace_ms", _ms(_longest_call(settings))),
        # A client that vanished without a word is noticed, and the work it asked for is dropped.
        ("grpc.keepalive_time_ms", _ms(settings.keepalive)),
        ("grpc.keepalive_timeout_ms", NO_ANSWER_MS),
        ("grpc.http2.ping_timeout_ms", NO_ANSWER_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # else gRPC stops asking after two
        # Clients may ask as often themselves, with a margin; those that ask more often are sent away.
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(settings.keepalive / 2)),
    ]


def _longest_call(settings: ServerSettings) -> float:
    people = [model.human.timeout + MARGIN for model in settings.models if model.human is not None]
    return max(LONGEST_CALL, settings.drain_timeout, *people)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
