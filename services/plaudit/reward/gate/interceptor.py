"""At gRPC's door: who is not let in is answered before anything of what they sent is read."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc
import grpc.aio

from plaudit.reward.aborting import Context, abort
from plaudit.reward.errors import PermissionDenied, RequestError
from plaudit.reward.gate.callers import host_of
from plaudit.reward.gate.gate import Gate
from plaudit.reward.gate.settings import KeySettings, Scope
from plaudit.reward.metrics import Metrics
from plaudit.reward.status import reason, to_status

Method: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
REWARDS = "/plaudit_protos.reward.v1.RewardService/"
HEALTH = "/grpc.health.v1.Health/"
"""Needs no key: the health checks that gRPC itself makes, for clients and balancers, cannot send one."""
SCORING = tuple(f"{REWARDS}{name}" for name in ("Score", "RankCandidates", "ScoreTokens", "GetModel", "ListModels"))
"""What takes the scope `score`, and reflection; whatever else there is, now or later, takes `admin`."""
REFLECTION = ("/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/")

_key: ContextVar[KeySettings | None] = ContextVar("key", default=None)


class GateInterceptor(grpc.aio.ServerInterceptor):
    """Stands before all others."""

    def __init__(self, gate: Gate, metrics: Metrics) -> None:
        self._gate, self._metrics = gate, metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Method]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Method:
        """As grpc.aio asks."""
        method = str(handler_call_details.method)
        if not method.startswith(HEALTH):
            try:
                _key.set(self._gate.check(scope_of(method), _authorization(handler_call_details)))
            except RequestError as error:
                if isinstance(error, PermissionDenied) and await continuation(handler_call_details) is None:
                    return None  # UNIMPLEMENTED: what is not there takes no permission
                self._metrics.rejected.labels(reason(error)).inc()
                return _refusal(error)
        return await continuation(handler_call_details)

    def arrived(self, context: Context) -> None:
        """Names the client of the call that begins."""
        subject = _subject_of(context.auth_context()) if self._gate.tls else ""
        self._gate.callers.arrived(_key.get(), subject, host_of(str(context.peer())))


def scope_of(method: str) -> Scope:
    """Of a method's whole name."""
    return "score" if method in SCORING or method.startswith(REFLECTION) else "admin"


def _subject_of(peer: Mapping[str, Iterable[bytes]]) -> str:
    """Of a client's certificate, as far as gRPC tells; its first other name where it has no subject."""
    for name in ("x509_subject", "x509_common_name", "x509_subject_alternative_name"):
        if found := next(iter(peer.get(name) or ()), b""):
            return found.decode(errors="replace")
    return ""


def _authorization(details: grpc.HandlerCallDetails) -> str | None:
    sent = (value for key, value in details.invocation_metadata or () if key == "authorization")
    return next((value for value in sent if isinstance(value, str)), None)


def _refusal(error: RequestError) -> Method:
    """Of the most general kind, which every method is one of: what was sent is never asked for."""

    async def refuse(_: Any, context: Context) -> None:
        await abort(context, to_status(error), error)

    return grpc.stream_stream_rpc_method_handler(refuse)
