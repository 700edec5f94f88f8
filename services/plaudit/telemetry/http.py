"""`/metrics`, `/health` and `/live` of one process, over its own registry, on its own loop or in a thread."""

import asyncio
import contextlib
import math
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from plaudit.errors import ConfigurationError


@dataclass(frozen=True)
class Health:
    """What `/health` answers: 200 when healthy, else 503; `detail` says why in a few words, `facts` to programs."""

    healthy: bool
    detail: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


def application(
    registry: CollectorRegistry, health: Callable[[], Health], live: Callable[[], bool] = lambda: True
) -> Starlette:
    """The routes; `health` and `live` are asked at every request and must not block, what collects metrics may.

    `/health` tells whether to send work, `/live` whether beginning anew would help.
    """
    collecting = asyncio.Lock()

    async def metrics(_: Request) -> Response:
        async with collecting:  # one at a time: collectors need not be made for several threads
            page = await asyncio.to_thread(generate_latest, registry)
        return Response(page, media_type=CONTENT_TYPE_LATEST)

    async def status(_: Request) -> Response:
        found = health()
        body = {"status": "ok" if found.healthy else "unhealthy", "detail": found.detail, **found.facts}
        return JSONResponse(body, status_code=200 if found.healthy else 503)

    async def alive(_: Request) -> Response:
        well = live()
        return JSONResponse({"status": "ok" if well else "unhealthy"}, status_code=200 if well else 503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/health", status), Route("/live", alive)])


def bind(host: str, port: int, purpose: str = "HTTP") -> socket.socket:
    """A listening socket; raises ConfigurationError when the address cannot be had. Port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port} for {purpose} ({error.strerror}): choose another address, or port 0"
        ) from None
    return listener


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, listener: socket.socket, *, grace: float = 1.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serves `app` on the running loop until the block ends, and then for `grace` seconds what is under way.

    Signals stay the program's own. With `tls`, the scope of a request names the client's certificate, where it has one,
    as ASGI's TLS extension does.
    """
    server = _Server(_config(app, grace, tls))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


class HttpThread:
    """A served application in a daemon thread; `close` ends it."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._server = _Server(_config(app))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="telemetry-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops listening and waits for the thread."""
        self._server.should_exit = True
        self._thread.join(timeout=5)


def serve_in_thread(app: Starlette, host: str, port: int) -> HttpThread:
    """Serves `app` beside a program that has no loop of its own; the listening port is `.port`."""
    return HttpThread(app, bind(host, port))


def _config(app: ASGIApp, grace: float = 1.0, tls: ssl.SSLContext | None = None) -> uvicorn.Config:
    seconds = math.ceil(grace)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,  # who a client is its connection says, not a header
        timeout_graceful_shutdown=seconds,
    )
    if tls is not None:
        config.http, config.ssl_context_factory = _NamesClients, lambda *_: tls
    return config


class _NamesClients(H11Protocol):
    """uvicorn checks a client's certificate and tells nobody whose it is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its own does
        super().connection_made(transport)
        app, name = self.app, _subject(transport.get_extra_info("peercert") or {})

        async def named(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**scope.get("extensions", {}), "tls": {"client_cert_name": name}}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = named


def _subject(certificate: Mapping[str, Any]) -> str | None:
    """As RFC 4514 writes one, as far as names without commas go; None where there is none."""
    pairs = [f"{_SHORT.get(kind, kind)}={value}" for level in certificate.get("subject", ()) for kind, value in level]
    return ",".join(reversed(pairs)) or None


_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}


class _Server(uvicorn.Server):
    """uvicorn installs signal handlers of its own; here the program decides what SIGTERM means."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
