"""What is traced in one process: nothing unless asked for, no words, no waiting; and who links to whom."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.reward.settings import ServerSettings
from plaudit.settings import parse
from plaudit.telemetry import tracing
from plaudit.telemetry.tracing import RunTracingSettings
from plaudit.trainer.roles import Position
from tests.trainer.test_overlapped import RandomScorer, ThreadPool, rollouts

ROOT = Path(__file__).parents[2]
WORKER = """
import json, sys, numpy as np
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.worker import RolloutWorker
from plaudit.telemetry.tracing import RunTracingSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling

traced, parent = {traced}
worker = RolloutWorker()
weights = (np.full(1, 7, dtype=np.uint8),)
worker.start("tests.rollout.engines:Echo", PolicySettings(model="none"), RolloutSettings(), 3, weights, traced)
requests = [RolloutRequest(Prompt(name, (1, 2))) for name in "ab"]
(report,) = worker.generate(requests, Sampling(4, 1.0, (), 0), float("inf"), parent)
worker.flush()
print([name for name in sys.modules if name.startswith("opentelemetry")] if traced is None else json.dumps(report.span))
"""
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
CLIENTS = """
import asyncio, pathlib, sys
from plaudit.telemetry import tracing
from plaudit_client import AsyncRewardClient, ModelLimits, RewardClient, ScoreItem, TextPair
from plaudit_client.fake import MODEL, FakeRewardServer
import dataclasses

async def ask(address):
    async with AsyncRewardClient(address) as client:
        await client.score(items)

items = [ScoreItem(TextPair("a secret", "kept")) for _ in range(4)]
limits = dataclasses.replace(MODEL.limits, max_items=2)
with FakeRewardServer(lambda item: 1.0, model=dataclasses.replace(MODEL, limits=limits)) as server:
    tracing.start("trainer", None, file=pathlib.Path(sys.argv[1]))
    with RewardClient(server.address) as client:
        client.score(items)  # no span is active
        with tracing.step(0):
            client.score(items)
            asyncio.run(ask(server.address))
            server.unavailable(1)
            client.score(items[:1])
    tracing.stop()
    tracing.start("trainer", None, file=pathlib.Path(sys.argv[2]))
    with RewardClient(server.address) as client, tracing.step(1):  # after one that was stopped
        client.score(items[:1])
    tracing.stop()
"""


def printed(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=120).stdout.strip()


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Starts tracing into a file; called, it stops that, and is what the file holds."""
    file = tmp_path / "traces.jsonl"
    tracing.start("trainer", None, every=2, run="r", file=file)

    def held() -> list[dict[str, Any]]:
        tracing.stop()  # a thread may be at writing a line
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    yield held
    tracing.stop()


def test_a_worker_that_is_not_traced_never_imports_opentelemetry() -> None:
    assert printed(WORKER.format(traced="None, None")) == "[]"


def test_a_workers_span_goes_back_with_its_last_report() -> None:
    span = json.loads(printed(WORKER.format(traced=f"RunTracingSettings(), {PARENT!r}")))
    assert (span["trace"], span["parent"], span["name"]) == ("a" * 32, "b" * 16, "worker.generate")
    assert span["attributes"] | {"worker": ""} == {"worker": "", "policy_version": 3, "requests": 2, "tokens": 4}
    assert span["seconds"] > 0


def test_each_request_of_either_client_is_a_span_where_one_is_active(tmp_path: Path) -> None:
    printed(CLIENTS, tmp_path / "traces.jsonl", tmp_path / "again.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "traces.jsonl").read_text().splitlines()]
    (step,) = [row for row in rows if row["name"] == "step"]
    scores = [row for row in rows if row["name"] == "RewardService/Score"]
    assert {(row["trace"], row["parent"]) for row in scores} == {(step["trace"], step["span"])}
    assert [row["error"] for row in scores].count("UNAVAILABLE") == 1
    assert [row["error"] for row in scores].count(None) == 5  # two chunks each, and the one that was tried again
    assert "secret" not in str(rows)
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert [row["name"] for row in again] == ["RewardService/GetModel", "RewardService/Score", "step"]


def test_outside_a_step_that_is_traced_there_are_no_spans(traces: Callable[[], list[Any]]) -> None:
    for number in (1, 3):
        with tracing.step(number), tracing.span("generate") as span:
            span.set_attribute("tokens", 1)
            assert tracing.traceparent() is None
    with tracing.span("generate"):
        tracing.stages(time.time_ns(), {"queue": 1.0})
    assert traces() == []


def test_of_an_error_the_type_alone_is_kept(traces: Callable[[], list[Any]]) -> None:
    with pytest.raises(RunFailed), tracing.step(0), tracing.span("generate"):
        raise RunFailed("prompt 'my secret'")
    assert [(row["name"], row["error"]) for row in traces()] == [("generate", "RunFailed"), ("step", "RunFailed")]


def test_what_is_asked_for_ahead_has_its_own_trace_and_its_step_a_link_to_it(
    traces: Callable[[], list[Any]],
) -> None:
    """Every second step is traced: what is asked for at version v is for v + 1 at the latest, so all of it is."""

    class Scorer(RandomScorer):
        def ask(self, trajectories):
            with tracing.span("asked for a score"):
                return super().ask(trajectories)

    with rollouts(ThreadPool(), Scorer()) as ahead:
        ahead.begin(0, Position([], 0))
        for step in range(4):
            with tracing.step(step):
                ahead.collect(step, lambda name: nullcontext())
            ahead.publish(step + 1, ())
    rows = traces()
    asks = {row["trace"]: row for row in rows if row["name"] == "ask"}
    steps = [row for row in rows if row["name"] == "step"]
    scores = [row for row in rows if row["name"] == "asked for a score"]
    assert [row["attributes"]["step"] for row in steps] == [0, 2]
    for row in steps:
        assert row["links"]
        assert set(row["links"]) <= asks.keys() - {row["trace"]}
        assert all(asks[trace]["attributes"]["policy_version"] <= row["attributes"]["step"] for trace in row["links"])
    assert scores
    assert all(row["parent"] == asks[row["trace"]]["span"] for row in scores)


def test_only_what_a_traced_step_may_learn_from_is_traced_ahead(tmp_path: Path) -> None:
    tracing.start("trainer", None, every=5, file=tmp_path / "traces.jsonl")
    traced = []
    for version in range(11):
        with tracing.ask(version, 1, 8):
            traced.append(tracing.traceparent() is not None)
    tracing.stop()
    assert [version for version, found in enumerate(traced) if found] == [0, 4, 5, 9, 10]


@pytest.mark.parametrize(
    ("queue", "forward", "laid"),
    [(1.0, 2.0, [(13.5, 1.0), (14.5, 2.0)]), (9.0, 3.0, [(10.0, 9.0), (19.0, 1.0)])],
)
def test_a_servers_stages_lie_in_the_middle_of_the_request_and_inside_it(
    traces: Callable[[], list[dict[str, Any]]], queue: float, forward: float, laid: list[tuple[float, float]]
) -> None:
    """Of a request in several batches, the longest may not be the last."""
    stages = {"reward.tokenize_s": 0.0, "reward.queue_s": queue, "reward.forward_s": forward}
    tracing.keep({"trace": "t", "span": "s", "start": 10.0, "seconds": 10.0, "attributes": stages})
    _, *found = traces()
    assert [row["name"] for row in found] == ["queue", "forward"]
    assert [(row["start"], row["seconds"]) for row in found] == laid
    assert {(row["trace"], row["parent"], row["service"]) for row in found} == {("t", "s", "reward server")}


def test_a_file_without_room_costs_spans_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "gone" / "traces.jsonl"
    tracing.start("trainer", None, file=file)
    for number in range(4):
        if number == 2:
            file.parent.mkdir()
            file.write_text('{"half')
        with tracing.step(number):
            pass
    tracing.stop()
    half, *whole = file.read_text().splitlines()
    assert half == '{"half'
    assert [json.loads(line)["attributes"]["step"] for line in whole if line] == [2, 3]
    assert caplog.text.count("cannot be written") == 1


def test_a_collector_that_is_away_holds_up_nobody_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """More spans than can wait."""
    tracing.start("trainer", "http://127.0.0.1:1")
    began = time.monotonic()
    for _ in range(6000):
        with tracing.step(0):
            pass
    made = time.monotonic() - began
    time.sleep(0.7)
    began = time.monotonic()
    tracing.stop()
    assert made < 30, "one try at sending takes two seconds"
    assert time.monotonic() - began < 12
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("plaudit")]
    assert said.startswith("spans could not be sent to http://127.0.0.1:1/v1/traces and are dropped")


@pytest.mark.parametrize("endpoint", ["collector:4317", "grpc://collector:4317", "http://"])
def test_an_endpoint_is_an_http_address(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="'endpoint' is"):
        parse(RunTracingSettings, {"endpoint": endpoint}, source="settings")


def test_a_server_is_told_where_to() -> None:
    rule = {"models": [{"name": "digits", "rule": {"kind": "digits"}}]}
    with pytest.raises(ConfigurationError, match=r"tracing\.endpoint' is missing"):
        parse(ServerSettings, {**rule, "tracing": {}}, source="settings")
