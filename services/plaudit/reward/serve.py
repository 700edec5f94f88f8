"""`plaudit serve settings.yaml`: serves until SIGTERM or Ctrl-C; a second signal ends it at once."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from plaudit.errors import RunFailed
from plaudit.outputs import check_ready_file, json_line, write_text
from plaudit.reward.settings import ServerSettings
from plaudit.settings import load
from plaudit.stopping import stop_on_signals
from plaudit.telemetry import logs, tracing

if TYPE_CHECKING:
    from plaudit.reward.server import RewardServer


def run(path: str, overrides: list[str]) -> int:
    """Returns 0 after a drain. Raises ConfigurationError before anything is served, RunFailed when a model is lost."""
    settings = load(ServerSettings, path, overrides)
    if settings.ready_file:
        check_ready_file(Path(settings.ready_file))
    logs.configure(settings.log_level)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the threads are counted out by our own pools
    if settings.tracing is not None:
        tracing.start("reward server", settings.tracing.endpoint)
    try:
        return asyncio.run(_serve(settings))
    finally:
        tracing.stop()


async def _serve(settings: ServerSettings) -> int:
    from plaudit.reward.server import RewardServer

    stop = stop_on_signals()
    async with RewardServer(settings) as server:
        loading = asyncio.create_task(server.load())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            await loading
            if not server.lost.is_set():
                _announce(server)
            await _until_stopped(stopped, server)
        else:
            loading.cancel()
    return 0


async def _until_stopped(stopped: "asyncio.Task[Literal[True]]", server: "RewardServer") -> None:
    """Raises RunFailed when a model is lost before."""
    lost = asyncio.create_task(server.lost.wait())
    await asyncio.wait((stopped, lost), return_when=asyncio.FIRST_COMPLETED)
    lost.cancel()
    if not stopped.done():
        names = ", ".join(server.catalog.lost())
        raise RunFailed(f"the process of model {names} has ended: was it killed for want of memory? Start plaudit anew")


def _announce(server: "RewardServer") -> None:
    names = ", ".join(model.card.resource for model in server.catalog.all())
    addresses = {"address": server.address, "http_address": server.http_address}
    if server.forms_address:
        addresses["forms_address"] = server.forms_address
    if server.settings.ready_file:
        write_text(Path(server.settings.ready_file), json_line(addresses))
    forms = f", forms at http://{server.forms_address}" if server.forms_address else ""
    print(
        f"plaudit serve: ready at {server.address} (metrics at http://{server.http_address}/metrics{forms}): {names}",
        flush=True,
    )
