"""How a server comes up, what it says about itself, and how it goes."""

import asyncio
import json
import logging
from pathlib import Path

import grpc.aio
import httpx
import pytest
from google.rpc.code_pb2 import Code
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from plaudit.errors import ConfigurationError
from plaudit.reward.server import RewardServer
from plaudit.telemetry import logs

from .serving import DIGITS, RewardServiceStub, failure, pb, scores, serving, settings, text

NAMES = ("", "readiness", "plaudit_protos.reward.v1.RewardService", "liveness")


async def health(channel: grpc.aio.Channel) -> dict[str, bool]:
    stub = health_pb2_grpc.HealthStub(channel)
    replies = [await stub.Check(health_pb2.HealthCheckRequest(service=name)) for name in NAMES]
    return {name: reply.status == 1 for name, reply in zip(NAMES, replies, strict=True)}


async def test_alive_while_loading_ready_when_loaded():
    async with RewardServer(settings(DIGITS)) as server, grpc.aio.insecure_channel(server.address) as channel:
        assert await health(channel) == {name: name == "liveness" for name in NAMES}
        found = await failure(RewardServiceStub(channel).GetModel(pb.GetModelRequest()))
        assert (found.code, found.reason) == (Code.UNAVAILABLE, "MODEL_LOADING")
        async with httpx.AsyncClient(base_url=f"http://{server.http_address}") as http:
            assert (await http.get("/health")).status_code == 503
            assert "plaudit_reward_ready 0.0" in (await http.get("/metrics")).text
            await server.load()
            assert (await http.get("/health")).status_code == 200
            assert "plaudit_reward_ready 1.0" in (await http.get("/metrics")).text
        assert all((await health(channel)).values())


async def test_liveness_falls_while_a_device_thread_stands_still(tmp_path: Path):
    (tmp_path / "hang.py").write_text("import time\ndef score(prompt, response):\n    time.sleep(1)\n    return 1.0\n")
    hang = {"name": "hang", "callable": {"function": f"{tmp_path}/hang.py:score", "concurrency": 1}}
    async with serving(hang, stall_timeout=0.3) as running:
        assert (await health(running.channel))["liveness"]
        call = asyncio.ensure_future(running.score(text("", "")))
        await asyncio.sleep(0.7)
        assert not (await health(running.channel))["liveness"]
        async with httpx.AsyncClient() as http:
            assert "stands still" in (await http.get(f"http://{running.server.http_address}/health")).text
        await call
        await asyncio.sleep(0.3)
        assert (await health(running.channel))["liveness"]


async def test_reflection_tells_the_services():
    async with serving(DIGITS) as running:
        stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (reply,) = [one async for one in stub.ServerReflectionInfo(iter([asked]))]
    names = {service.name for service in reply.list_services_response.service}
    assert {"plaudit_protos.reward.v1.RewardService", "grpc.health.v1.Health"} <= names


async def test_metrics_add_up_to_what_was_asked_and_hold_no_callers_words():
    async with serving(DIGITS) as running:
        await running.score(text("", "1"), text("", "2"), pb.ScoreItem())
        await running.score(text("", "1"))
        await failure(running.score(text("", "1"), model="models/secret"))
        async with httpx.AsyncClient() as http:
            page = (await http.get(f"http://{running.server.http_address}/metrics")).text
    for line in (
        'plaudit_reward_requests_total{code="OK",method="Score",model="digits"} 2.0',
        'plaudit_reward_requests_total{code="NOT_FOUND",method="Score",model="unknown"} 1.0',
        'plaudit_reward_items_total{model="digits",outcome="ok"} 3.0',
        'plaudit_reward_items_total{model="digits",outcome="invalid_item"} 1.0',
        'plaudit_reward_rejected_total{reason="MODEL_NOT_FOUND"} 1.0',
        'plaudit_reward_score_count{model="digits"} 3.0',
        'plaudit_reward_rejected_total{reason="QUEUE_FULL"} 0.0',
        "plaudit_reward_queue_items 0.0",
        "plaudit_reward_inflight_requests 0.0",
    ):
        assert line in page
    assert "plaudit_loop_lag_seconds_bucket" in page
    assert "secret" not in page


async def test_a_drain_finishes_what_is_in_flight_and_takes_nothing_new(tmp_path: Path):
    (tmp_path / "slow.py").write_text(
        "import time\ndef score(prompt, response):\n    time.sleep(0.8)\n    return 1.0\n"
    )
    slow = {"name": "slow", "callable": {"function": f"{tmp_path}/slow.py:score"}}
    async with serving(slow, DIGITS) as running:
        in_flight = asyncio.ensure_future(running.score(text("", ""), text("", "")))
        await asyncio.sleep(0.2)
        draining = asyncio.create_task(running.server.drain())
        await asyncio.sleep(0.2)
        assert not in_flight.done()
        found = await failure(running.score(text("", ""), model="digits"))
        assert (found.code, found.reason) == (Code.UNAVAILABLE, "DRAINING")
        assert found.details[1].retry_delay.seconds == 1
        async with httpx.AsyncClient() as http:
            assert "draining" in (await http.get(f"http://{running.server.http_address}/health")).text
            assert "plaudit_reward_ready 0.0" in (await http.get(f"http://{running.server.http_address}/metrics")).text
        assert scores(await in_flight) == [1, 1]
        await draining
        with pytest.raises(grpc.aio.AioRpcError):
            await running.score(text("", ""), model="digits")


async def test_a_drain_does_not_wait_longer_than_it_may(tmp_path: Path):
    (tmp_path / "slow.py").write_text("import time\ndef score(prompt, response):\n    time.sleep(3)\n    return 1.0\n")
    slow = {"name": "slow", "callable": {"function": f"{tmp_path}/slow.py:score"}}
    async with serving(slow, drain_timeout=0.3) as running:
        in_flight = asyncio.ensure_future(running.score(text("", "")))
        await asyncio.sleep(0.2)
        await asyncio.wait_for(running.server.drain(), 2.5)
        with pytest.raises(grpc.aio.AioRpcError):
            await in_flight


async def test_while_the_balancer_is_waited_for_calls_are_still_answered():
    async with serving(DIGITS, drain_wait=0.6) as running:
        draining = asyncio.create_task(running.server.drain())
        await asyncio.sleep(0.1)
        assert await health(running.channel) == {name: name == "liveness" for name in NAMES}
        assert scores(await running.score(text("", "1"))) == [0.2]
        await draining


async def test_a_port_in_use_is_refused():
    async with serving(DIGITS) as running:
        for key in ("address", "http_address"):
            taken = getattr(running.server, key)
            with pytest.raises(ConfigurationError, match=f"cannot listen on {taken}"):
                async with RewardServer(settings(DIGITS, **{key: taken})):
                    pass


async def test_logs_never_hold_prompt_text(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "bad.py").write_text("def score(prompt, response):\n    raise ValueError(prompt)\n")
    bad = {"name": "bad", "callable": {"function": f"{tmp_path}/bad.py:score"}}
    async with serving(bad) as running:
        await running.stub.Score(pb.ScoreRequest(items=[text("the secret", "")], request_id="abc-1"))
    line = next(record for record in caplog.records if record.name.startswith("plaudit"))
    shown = json.loads(logs.JsonLines().format(line))
    assert shown["error"].startswith("ValueError at ")
    assert "secret" not in caplog.text + json.dumps(shown)
