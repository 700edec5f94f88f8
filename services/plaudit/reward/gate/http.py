"""At HTTP's door: the same keys for an ASGI application, as Bearer or as the password of Basic. Who is not let in is an
error, which whoever is around it answers.

app = GateMiddleware(app, gate)      every path takes the scope `score`, but those that `admin` says take `admin`
"""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from plaudit.reward.errors import RequestError
from plaudit.reward.gate.gate import Gate
from plaudit.reward.gate.settings import Scope
from plaudit.reward.metrics import Metrics
from plaudit.reward.status import reason


class GateMiddleware:
    """Nothing is read of whoever is not let in; who is has a name from then on."""

    def __init__(
        self, app: ASGIApp, gate: Gate, metrics: Metrics, admin: Callable[[str], bool] = lambda path: False
    ) -> None:
        self._app, self._gate, self._metrics, self._admin = app, gate, metrics, admin

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """As ASGI asks. Raises Unauthenticated, PermissionDenied."""
        if scope["type"] != "http":  # a websocket, a lifespan: there is nobody here to let in
            return
        try:
            wanted: Scope = "admin" if self._admin(scope["path"]) else "score"
            key = self._gate.check(wanted, Headers(scope=scope).get("authorization"))
        except RequestError as error:
            self._metrics.rejected.labels(reason(error)).inc()
            raise
        tls = scope.get("extensions", {}).get("tls", {})
        self._gate.callers.arrived(key, tls.get("client_cert_name") or "", (scope.get("client") or ("",))[0])
        await self._app(scope, receive, send)
