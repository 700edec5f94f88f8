"""`/metrics` and `/health` of one address, within a deadline, and no more of them than a page can be long."""

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from plaudit.addresses import join_address, split_address
from plaudit.top.page import Page, parse, printable

DEADLINE_SECONDS = 3.0
MOST_BYTES = 4 << 20


class Unreachable(Exception):
    """No page came; the text says why in a few words."""


@dataclass(frozen=True)
class Answer:
    """One look at one process."""

    page: Page
    health: Mapping[str, object]  # nothing where it has no /health of ours


async def ask(address: str) -> Answer:
    """Raises Unreachable."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            status, page = await _get(address, "/metrics")
            _, health = await _get(address, "/health")
    except TimeoutError:
        raise Unreachable(f"no answer within {DEADLINE_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(_reason(error)) from None
    if status != 200:
        raise Unreachable(f"/metrics answers {status}" if status else "it does not speak HTTP")
    try:
        return Answer(parse(page.decode()), _facts(health))
    except ValueError:
        raise Unreachable("/metrics is no page of metrics") from None


async def _get(address: str, path: str) -> tuple[int, bytes]:
    """(status, body); status 0 of what is not HTTP. HTTP/1.0: the body ends with the connection."""
    host, port = split_address(address)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {join_address(host, port)}\r\n\r\n".encode())
        answer = bytearray()
        while chunk := await reader.read(1 << 16):
            answer += chunk
            if len(answer) > MOST_BYTES:
                raise Unreachable(f"{path} is longer than {MOST_BYTES >> 20} MiB")
    finally:
        writer.close()
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    number = rest[:3]
    return int(number) if version.startswith(b"HTTP/") and number.isdigit() else 0, body


def _reason(error: OSError | UnicodeError) -> str:
    """asyncio's own texts name what was called, and several addresses at once."""
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror):
        return "no such host"
    return os.strerror(number).lower() if number else "no connection"


def _facts(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: printable(value) if isinstance(value, str) else value for name, value in found.items()}
