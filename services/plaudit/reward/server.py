"""One event loop, a process for each model: gRPC, health, /metrics and /health, and how they come up and go down.

start    bind both ports -> liveness SERVING -> load, warm up, verify -> readiness SERVING
drain    readiness NOT_SERVING -> wait for the balancer -> refuse new calls -> finish what is in flight -> stop
"""

import asyncio
import contextlib
import socket

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.types import ASGIApp

from plaudit.addresses import join_address, split_address
from plaudit.errors import ConfigurationError
from plaudit.reward import connections
from plaudit.reward.admin.loads import Loads
from plaudit.reward.admin.roots import Roots
from plaudit.reward.admin.servicer import ModelAdminServicer
from plaudit.reward.calls import Calls
from plaudit.reward.catalog import Catalog
from plaudit.reward.counting import Counting
from plaudit.reward.forms.app import Gateway, application
from plaudit.reward.forms.settings import FormSettings
from plaudit.reward.gate.gate import Gate
from plaudit.reward.gate.http import GateMiddleware
from plaudit.reward.gate.interceptor import GateInterceptor
from plaudit.reward.interceptor import ADMIN, SERVICE, StatusInterceptor
from plaudit.reward.metrics import Metrics
from plaudit.reward.servicer import RewardServicer
from plaudit.reward.settings import ServerSettings
from plaudit.stopping import in_background
from plaudit.telemetry.http import Health, bind, serving
from plaudit.telemetry.http import application as telemetry
from plaudit_protos.reward.v1.admin_pb2_grpc import add_ModelAdminServiceServicer_to_server
from plaudit_protos.reward.v1.reward_pb2_grpc import add_RewardServiceServicer_to_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
READINESS = ("", "readiness", SERVICE)
LIVENESS = "liveness"
TICK = 0.1
"""Seconds between two looks at the loop's lag, the queue and the device threads."""


class RewardServer:
    """Use as `async with RewardServer(settings) as server`, then `await server.load()`."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.metrics.ready.set_function(lambda: float(self._state().healthy))
        forms = settings.forms
        self.catalog = Catalog({forms.model, *forms.names.values()} if forms else ())
        self.address = self.http_address = self.forms_address = ""
        self.lost = asyncio.Event()
        """Set when a model can never score again; the catalog knows which."""
        self._ready = self._draining = self._told_ready = False
        self._telling = asyncio.Lock()
        self._health = health.aio.HealthServicer()
        self.gate = Gate(settings, self.metrics)
        self._counting = Counting(self.catalog, self.metrics)
        calls = Calls(self.catalog, settings.limits, self.metrics)
        self._servicer = RewardServicer(calls, settings.deterministic)
        self._loads = Loads(self.catalog, settings, self.metrics)
        self._roots = Roots(settings.model_roots)
        self._forms = Gateway(calls, self._counting, self._servicer, settings.forms or FormSettings())
        self._grpc: grpc.aio.Server | None = None
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "RewardServer":
        """Binds and answers: alive, not ready. Raises ConfigurationError when a port is taken."""
        self.http_address, listener = _bind(self.settings.http_address)
        forms = None
        if self.settings.forms is not None:
            self.forms_address, forms = _bind(self.settings.forms.address, "the forms")
        self._grpc = self._listen()
        for name in READINESS:
            await self._health.set(name, NOT_SERVING)
        await self._health.set(LIVENESS, SERVING)
        await self._grpc.start()
        told = telemetry(self.metrics.registry, self._state, self._alive)
        await self._open.enter_async_context(serving(told, listener))
        if forms is not None:
            app = application(self._forms, lambda: self._state().healthy, around=self._asking_who)
            tls = None if self.gate.tls is None else self.gate.tls.context()
            await self._open.enter_async_context(serving(app, forms, tls=tls))
        await self._open.enter_async_context(in_background(self._watch()))
        await self._open.enter_async_context(in_background(self.gate.watch()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain()
        await self._open.aclose()
        self.catalog.close()

    async def load(self) -> None:
        """Loads the models, then reports ready. Raises ConfigurationError."""
        await self.catalog.load(self.settings, self.metrics)
        self._ready = True
        await self._tell_readiness()

    async def drain(self) -> None:
        """Takes no new work, finishes what it has, and stops listening. A second call does nothing."""
        if self._draining:
            return
        self._draining = True
        await self._tell_readiness()
        if self._ready:
            await asyncio.sleep(self.settings.drain_wait)
        self.catalog.draining = True  # from here on new calls are answered DRAINING
        self._loads.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._counting.idle.wait(), self.settings.drain_timeout)
        if self._grpc is not None:
            await self._grpc.stop(grace=0.5)

    def _make_grpc_server(self) -> grpc.aio.Server:
        door = GateInterceptor(self.gate, self.metrics)
        status = StatusInterceptor(self._counting, door.arrived)
        server = grpc.aio.server(
            # Without keys nobody is turned away, and a service that takes more than `score` is not there (settings):
            # asking would be a fifteenth of what a small call costs.
            interceptors=[door, status] if self.settings.keys else [status],
            options=connections.options(self.settings),
        )
        add_RewardServiceServicer_to_server(self._servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
        if self.settings.model_roots:
            admin = ModelAdminServicer(self.catalog, self._loads, self._roots, self._servicer.describe)
            add_ModelAdminServiceServicer_to_server(admin, server)
            names.append(ADMIN)
        reflection.enable_server_reflection(names, server)
        return server

    def _listen(self) -> grpc.aio.Server:
        """Tried with a plain socket first: gRPC's own failure prints more than one clear line."""
        host, port = split_address(self.settings.address)
        bind(host, port, "gRPC").close()
        server = self._make_grpc_server()
        try:
            target, tls = join_address(host, port), self.gate.tls
            bound = server.add_secure_port(target, tls.credentials()) if tls else server.add_insecure_port(target)
            self.address = join_address(host, bound)
        except RuntimeError:
            raise ConfigurationError(f"cannot listen on {host}:{port} for gRPC: choose another address") from None
        return server

    def _asking_who(self, app: ASGIApp) -> ASGIApp:
        return GateMiddleware(app, self.gate, self.metrics)

    def _state(self) -> Health:
        if self.lost.is_set():
            return Health(False, "a model's process has ended")
        if not self.catalog.beating(self.settings.stall_timeout):
            return Health(False, "a device thread stands still")
        if self._draining:
            return Health(False, "draining")
        if away := self.catalog.away():
            return Health(False, f"the database of {', '.join(away)} is away")
        return Health(self._ready, "" if self._ready else "loading")

    def _alive(self) -> bool:
        return self.catalog.beating(self.settings.stall_timeout) and not self.lost.is_set()

    async def _watch(self) -> None:
        """Measures how late the loop wakes, and tells how the models are.

        Liveness falls when a device thread stands still or a model is lost; readiness while a database is away, which
        beginning anew would not mend.
        """
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.metrics.loop_lag.observe(max(0.0, loop.time() - due))
            self.metrics.queued(self.catalog.admissions())
            self.metrics.served([model.card for model in self.catalog.aliases().values()])
            if self.catalog.lost():
                self.lost.set()
            await self._health.set(LIVENESS, SERVING if self._alive() else NOT_SERVING)
            await self._tell_readiness()

    async def _tell_readiness(self) -> None:
        """To the health service, when it has changed: each time all clients that watch it are woken."""
        async with self._telling:
            ready = self._ready and not self._draining and not self.catalog.away()
            if ready != self._told_ready:
                self._told_ready = ready
                for name in READINESS:
                    await self._health.set(name, SERVING if ready else NOT_SERVING)


def _bind(address: str, purpose: str = "HTTP") -> tuple[str, socket.socket]:
    """A listening socket and its address, port and all."""
    host, port = split_address(address)
    listener = bind(host, port, purpose)
    return join_address(host, listener.getsockname()[1]), listener
