"""The labelling page as a service: it listens, tells how it fares, and goes down without losing a request."""

import asyncio
import contextlib
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from plaudit.addresses import join_address, split_address
from plaudit.feedback.page.app import application
from plaudit.feedback.page.desk import Desk, Latest
from plaudit.feedback.page.metrics import Metrics
from plaudit.feedback.records import Load
from plaudit.feedback.settings import LabelSettings
from plaudit.feedback.store import Store
from plaudit.outputs import json_line, write_text
from plaudit.stopping import in_background, stop_on_signals
from plaudit.telemetry import http
from plaudit.telemetry.http import Health

LOOK_S = 5.0
"""Between two looks at the database, and for one: it does not answer where it takes longer."""


class LabelServer:
    """Use as `async with LabelServer(settings, store) as server`."""

    def __init__(self, settings: LabelSettings, store: Store) -> None:
        self.settings, self.address, self.http_address = settings, "", ""
        self._store, self._metrics = store, Metrics()
        self._health = Health(False, "starting")
        self._looking: asyncio.Task[Load] | None = None
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "LabelServer":
        """Binds and answers. Raises ConfigurationError when a port is taken."""
        host, port = split_address(self.settings.address)
        page = http.bind(host, port, "the page (address)")
        self.address = join_address(host, page.getsockname()[1])
        host, port = split_address(self.settings.http_address)
        telemetry = http.bind(host, port, "metrics (http_address)")
        self.http_address = join_address(host, telemetry.getsockname()[1])
        url = self.settings.url or f"http://{self.address}"
        desk = Desk(self._store, self.settings, self._metrics, Latest(self._store), url)
        told = http.application(self._metrics.registry, lambda: self._health)
        await self.look()
        await self._open.enter_async_context(http.serving(told, telemetry))
        await self._open.enter_async_context(in_background(self._watch()))
        await self._open.enter_async_context(http.serving(application(desk), page, grace=self.settings.drain_timeout))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Asks the database how much there is to do; who asks for metrics and health hears of it."""
        if self._looking is None:  # else the last one still waits, and would leave a thread behind
            self._looking = asyncio.create_task(asyncio.to_thread(self._store.load))
        done, _ = await asyncio.wait({self._looking}, timeout=LOOK_S)
        try:
            load = self._looking.result() if done else None
        except SQLAlchemyError:
            load = None
        if done:
            self._looking = None
        if load is None:
            self._metrics.database_up.set(0)
            self._health = Health(False, "the database does not answer")
            return
        self._metrics.database_up.set(1)
        self._metrics.waiting.set(load.waiting)
        self._metrics.open.set(load.open)
        self._health = Health(True)


async def serve(settings: LabelSettings, store: Store) -> int:
    """Until SIGTERM or Ctrl-C; a second signal ends it at once. Returns 0."""
    stop = stop_on_signals()
    async with LabelServer(settings, store) as server:
        if settings.ready_file:
            told = {"address": server.address, "http_address": server.http_address}
            write_text(Path(settings.ready_file), json_line(told))
        print(
            f"plaudit label: ready at http://{server.address} (metrics at http://{server.http_address}/metrics)",
            flush=True,
        )
        await stop.wait()
    return 0
