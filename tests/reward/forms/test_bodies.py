"""How far a body is read, how long it is waited for, and what is none."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from ..serving import DIGITS, Running
from .running import asked, count, raw


async def answer_to(running: Running, head: bytes) -> bytes:
    """To the head of a request alone, soon."""
    reader, writer = await raw(running.server.forms_address, head)
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"}")
    writer.close()
    return answer


async def test_a_body_that_says_it_is_too_large_is_not_waited_for():
    async with asked(DIGITS, limits={"max_request_bytes": 1000}) as (running, _):
        head = b"POST /get_reward HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n"
        answer = await answer_to(running, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"reason":"BATCH_TOO_LARGE"' in answer


async def test_a_body_that_grows_too_large_is_read_no_further():
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000
            await asyncio.sleep(0.005)

    async with asked(DIGITS, limits={"max_request_bytes": 1000}) as (running, client):
        with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # the server closes while the client still sends
            await client.post("/classify", content=endless())
        assert sent < 1_000_000
        assert count(running, "reward_rejected_total", reason="BATCH_TOO_LARGE") == 1
        fits = json.dumps({"input": "9"}).encode().ljust(1000)
        assert (await client.post("/classify", content=fits)).status_code == 200
        for length in (1, 5000):  # who has sent all of it is told
            assert (await client.post("/classify", content=fits + b" " * length)).status_code == 413


async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_the_call():
    async with asked(DIGITS, forms={"timeout": 0.4}) as (running, _):
        began = time.monotonic()
        head = b'POST /get_reward HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"query"'
        answer = await answer_to(running, head)
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert 0.3 < time.monotonic() - began < 3
        method = {"method": "openrlhf", "model": "digits", "code": "DEADLINE_EXCEEDED"}
        assert count(running, "reward_requests_total", **method) == 1


async def test_a_slow_body_within_the_time_is_answered():
    async def drops() -> AsyncIterator[bytes]:
        for part in (b'{"que', b'ry": ["1 ', b'2"]}'):
            await asyncio.sleep(0.1)
            yield part

    async with asked(DIGITS) as (_, client):
        assert (await client.post("/get_reward", content=drops())).json()["rewards"] == [0.4]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"a"', b"null", b"\xff\xfe", b'{"query": ["a"]} x', b'{"query": ["\\ud800"]}'),
        *(b'{"query": ["a"], "x": NaN}', b'{"query": ["a"], "x": -Infinity}', b"[" * 5000, b'{"a":' * 5000),
    ],
)
async def test_what_is_no_json_object_is_refused(body: bytes):
    async with asked(DIGITS) as (_, client):
        for path in ("/get_reward", "/classify", "/v1/models/digits:score"):
            assert (await client.post(path, content=body)).status_code == 400


async def test_a_compressed_body_is_refused():
    """It would be larger than it says."""
    async with asked(DIGITS) as (_, client):
        reply = await client.post("/get_reward", content=b"{}", headers={"content-encoding": "gzip"})
    assert reply.status_code == 400
    assert "compressed" in reply.json()["error"]
