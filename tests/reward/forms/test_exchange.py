"""What all forms share: bounds on a body and on time, callers who leave, overload, a server's end, and counting."""

import asyncio
import json
import re
import threading
import time
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from plaudit.reward.errors import QueueFull
from plaudit.reward.forms.app import application
from plaudit.reward.forms.paths import FORMS
from plaudit.reward.server import RewardServer
from tests.telemetry.collector import collecting

from ..processes import process
from ..serving import DIGITS, serving, settings, until
from .asking import BODIES
from .running import asked, count, raw, slow


def test_every_path_that_scores_has_a_body_here():
    assert set(FORMS) - set(BODIES) == {"/v1/classify"}


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


def test_a_call_with_a_traceparent_is_a_span_of_its_callers_trace(tmp_path: Path):
    sent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    with collecting() as collector:
        tracing, forms = {"endpoint": collector.endpoint}, {"address": "127.0.0.1:0"}
        with process(tmp_path / "s", models=[DIGITS], forms=forms, tracing=tracing) as server:
            for headers in (sent, {}, {"traceparent": "nonsense"}):
                reply = httpx.post(
                    f"http://{server.forms_address}/get_reward", json={"query": ["SECRET"]}, headers=headers
                )
                assert reply.status_code == 200
            server.end()
    (call,) = [span for span in collector.spans if span.name == "RewardService/openrlhf"]
    assert (call.trace, call.parent) == ("a" * 32, "b" * 16)
    assert {span.name for span in collector.spans if span.parent == call.id} == {
        "tokenize",
        "queue",
        "forward",
        "encode",
    }
    assert "SECRET" not in str(collector.spans)


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
