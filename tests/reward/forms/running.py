"""A server on the test's own loop, and clients of its forms."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from ..serving import Running, serving

SLOW = """
import asyncio
async def slow(prompt, response):
    await asyncio.sleep(float(response))
    return 1.0
"""


def slow(folder: Path, **more: object) -> dict[str, object]:
    """A model that takes as many seconds as the response says."""
    (folder / "slow.py").write_text(SLOW)
    return {"name": "m", "callable": {"function": f"{folder}/slow.py:slow", "concurrency": 8, **more}}


@contextlib.asynccontextmanager
async def asked(*models, forms=None, **more) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    async with (
        serving(*models, forms={"address": "127.0.0.1:0", **(forms or {})}, **more) as running,
        httpx.AsyncClient(base_url=f"http://{running.server.forms_address}", timeout=10) as client,
    ):
        yield running, client


def count(running: Running, name: str, **labels: str) -> float:
    return running.server.metrics.registry.get_sample_value(f"plaudit_{name}", labels or None) or 0.0


async def raw(address: str, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    await writer.drain()
    return reader, writer
