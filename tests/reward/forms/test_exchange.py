"""What all forms share: bounds on a body and on time, callers who leave, overload, a server's end, and counting."""

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from plaudit.errors import ConfigurationError
from plaudit.reward.errors import QueueFull
from plaudit.reward.forms.app import application
from plaudit.reward.forms.form import Told
from plaudit.reward.forms.paths import FORMS
from plaudit.reward.forms.settings import FormSettings
from plaudit.reward.items import Card, Scored
from plaudit.reward.server import RewardServer

from ..processes import process
from ..serving import DIGITS, Running, serving, settings, until
from .asking import BODIES

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


def test_every_path_that_scores_has_a_body_here():
    assert set(FORMS) - set(BODIES) == {"/v1/classify"}


async def test_a_body_that_says_it_is_too_large_is_not_waited_for():
    async with asked(DIGITS, limits={"max_request_bytes": 1000}) as (running, _):
        head = b"POST /get_reward HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n"
        reader, writer = await raw(running.server.forms_address, head)
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"}")
        writer.close()
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
        reader, writer = await raw(running.server.forms_address, head)
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"}")
        writer.close()
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


@pytest.mark.parametrize("path", BODIES)
async def test_a_call_that_takes_too_long_ends_in_its_own_form(tmp_path: Path, path: str):
    async with asked(slow(tmp_path), forms={"timeout": 0.3}) as (running, client):
        reply = await client.post(path, json=BODIES[path])
        assert reply.status_code == 504
        assert "error" in reply.json()
        await until(lambda: not running.server.catalog.find("m").admission.items)


@pytest.mark.parametrize("path", ["/get_reward", "/v1/models/m:score"])
async def test_a_caller_who_leaves_frees_its_place(tmp_path: Path, path: str):
    async with asked(slow(tmp_path)) as (running, client):
        admission = running.server.catalog.find("m").admission
        body = json.dumps(BODIES[path]).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        _, writer = await raw(running.server.forms_address, head + body)
        await until(lambda: admission.items == 1)
        writer.close()
        await until(lambda: not admission.items)
        assert count(running, "reward_cancelled_total", where="call") == 1
        assert count(running, "reward_inflight_requests") == 0
        assert (await client.post("/slime", json={"prompt": "", "response": "0"})).json() == 1.0


@pytest.mark.parametrize("path", BODIES)
async def test_overload_is_503_with_the_time_to_come_back(tmp_path: Path, path: str):
    """verl gives up at a 4xx, and a 429 is one."""
    async with asked(slow(tmp_path, max_queue_items=1)) as (running, client):
        first = asyncio.create_task(client.post("/slime", json=BODIES["/slime"]))
        await until(lambda: running.server.catalog.find("m").admission.items == 1)
        reply = await client.post(path, json=BODIES[path])
        first.cancel()
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert "the queue is full" in reply.text


async def test_while_models_load_it_is_503_and_so_is_health():
    tree = settings(DIGITS, forms={"address": "127.0.0.1:0"})
    async with (
        RewardServer(tree) as server,
        httpx.AsyncClient(base_url=f"http://{server.forms_address}") as client,
    ):
        replies = [await client.get("/health"), await client.get("/v1/models")]
        replies += [await client.post("/slime", json={"prompt": "", "response": "1"})]
        assert [reply.status_code for reply in replies] == [503] * 3
        await server.load()
        assert (await client.get("/health")).json() == {"status": "ok"}
        assert set((await client.get("/version")).json()) == {"version"}


def test_what_is_in_flight_at_sigterm_is_answered_and_nothing_more_is_taken(tmp_path: Path):
    forms = {"address": "127.0.0.1:0"}
    with process(tmp_path / "s", models=[slow(tmp_path)], forms=forms, log_level="DEBUG") as server:
        client = httpx.Client(base_url=f"http://{server.forms_address}", timeout=10)
        found: list[httpx.Response] = []
        sample = {"prompt": "CANARY", "response": "1.5"}
        asking = threading.Thread(target=lambda: found.append(client.post("/slime", json=sample)))
        asking.start()
        while server.metric("plaudit_reward_inflight_requests") < 1:
            time.sleep(0.02)
        refused = httpx.post(f"http://{server.forms_address}/slime", json={"prompt": "", "response": "CANARY"})
        assert refused.status_code == 500  # "CANARY" is no number of seconds
        server.end()
        asking.join(10)
        assert found[0].json() == 1.0
        assert server.process.returncode == 0
    log = (tmp_path / "s" / "stderr.txt").read_text()
    assert "the function failed" in log
    assert "CANARY" not in log


async def test_draining_is_503():
    async with asked(DIGITS) as (running, client):
        running.server.catalog.draining = True
        reply = await client.post("/get_reward", json={"query": ["a"]})
    assert (reply.status_code, reply.json()["reason"]) == (503, "DRAINING")


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


async def test_a_call_keeps_its_callers_request_id_or_gets_one():
    async with asked(DIGITS) as (_, client):
        given = await client.post("/get_reward", json={"query": []}, headers={"x-request-id": "mine-1"})
        unusable = await client.post("/get_reward", json={"query": []}, headers={"x-request-id": "a" * 200})
        native = await client.post("/v1/models/digits:score", json={"items": [{"text": {}}], "requestId": "mine-2"})
    assert given.headers["x-request-id"] == "mine-1"
    assert re.fullmatch("[0-9a-f]{16}", unusable.headers["x-request-id"])
    assert native.headers["x-request-id"] == "mine-2"


async def test_calls_are_counted_by_form_model_and_end():
    async with asked(DIGITS) as (running, client):
        await client.post("/classify", json={"text": "1"})
        await client.post("/classify", json={"model": "nobody", "input": "1"})
        await client.post("/classify", json={"input": [[1]]})
        await client.post("/v1/models/digits:score", json={"items": [{}]})
        for method, model, code in (
            ("sglang/classify", "digits", "OK"),
            ("vllm/classify", "unknown", "NOT_FOUND"),
            ("vllm/classify", "digits", "INVALID_ARGUMENT"),  # a rule reads no ids: one item fails the call
            ("native/Score", "digits", "OK"),  # and here it has a place of its own
        ):
            assert count(running, "reward_requests_total", method=method, model=model, code=code) == 1
        assert count(running, "reward_items_total", model="digits", outcome="invalid_item") == 2


@pytest.mark.parametrize(("path", "key"), [("/predict", "error_type"), ("/classify", "object"), ("/slime", "reason")])
async def test_an_error_before_the_body_is_read_is_in_the_form_of_its_path(path: str, key: str):
    """Whatever stands before the forms, such as a check of who calls, may raise what they raise."""

    def full(_: ASGIApp) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise QueueFull(3.2)

        return app

    async with serving(DIGITS) as running:
        app = application(running.server._forms, lambda: True, around=full)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            reply = await client.post(path, content=b"never read")
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "4"
    assert key in reply.json()


async def test_other_paths_and_methods_are_refused():
    async with asked(DIGITS) as (_, client):
        assert (await client.post("/v1/chat/completions", json={})).status_code == 404
        assert (await client.get("/classify")).status_code == 405
        assert (await client.post("/v1/models/digits:load", json={})).status_code == 400
        assert (await client.get("/metrics")).status_code == 404


async def test_a_text_whose_response_is_known_to_begin_somewhere_is_split_for_a_rule():
    """It counts the numbers of the response alone; of a text that nobody splits, all of them."""
    async with asked(DIGITS) as (_, client):
        query = "<s>I have 1 and 2. You: 3</s>"
        told = await client.post("/get_reward", json={"query": [query], "prompts": ["I have 1 and 2. You:"]})
        untold = await client.post("/get_reward", json={"query": [query], "prompts": ["something else"]})
        cut = await client.post("/classify", json={"input": query, "truncate_prompt_tokens": 3})
    assert (told.json()["rewards"], untold.json()["rewards"]) == ([0.2], [0.6])
    assert cut.status_code == 400  # a rule has no tokens to keep three of


def test_the_settings_decide_what_a_caller_gets_who_says_nothing():
    card, scored = Card(name="m", version="1", weights_sha256="", dtype="float32"), [Scored(1.0, 3.0)]
    assert Told(card, scored, FormSettings()).values(theirs=True) == [3.0]
    assert Told(card, scored, FormSettings(score="calibrated")).values(theirs=True) == [1.0]
    theirs = Told(card, scored, FormSettings(activation="theirs"))
    assert theirs.values(theirs=True) == [pytest.approx(0.952574)]
    assert theirs.values() == theirs.values(False, theirs=True) == [3.0]
    far = [Scored(0, -1e308), Scored(0, 1e308)]
    assert Told(card, far, FormSettings()).values(True) == [0.0, 1.0]


async def test_a_default_model_of_the_forms_is_another_than_the_servers():
    other = {"name": "other", "rule": {"kind": "keyword", "word": "thanks"}}
    async with asked(DIGITS, other, forms={"model": "other", "names": {"org/rm": "digits"}}) as (_, client):
        assert (await client.post("/slime", json={"prompt": "", "response": "thanks"})).json() == 1.0
        named = await client.post("/classify", json={"model": "org/rm", "input": "1"})
        ids = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        assert (await client.get("/v1/models/org/rm")).json()["id"] == "org/rm"
    assert named.json()["data"][0]["probs"] == [0.2]
    assert ids == ["other", "digits", "org/rm"]


@pytest.mark.parametrize(
    ("forms", "problem"),
    [
        ({"address": "0.0.0.0:0"}, "forms.address"),
        ({"model": "nobody"}, "forms.model: 'nobody'"),
        ({"names": {"a": "nobody"}}, "forms.names: 'nobody'"),
        ({"timeout": 0}, "timeout"),
        ({"adress": "a"}, "adress"),
    ],
)
def test_settings_that_cannot_work_are_refused(forms, problem: str):
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        settings(DIGITS, forms=forms)
