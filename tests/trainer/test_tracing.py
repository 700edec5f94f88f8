"""A traced run: what a collector gets from the three kinds of process, the file in the run folder, and the report."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.reward.processes import process
from tests.telemetry.collector import Collected, Collector, collecting

from .programs import finish, settings_file, start

PHASES = ("generate", "score", "evaluate", "update", "sync")
STAGES = ("tokenize", "queue", "forward")
GROUPS = 2  # of 4 requests


@dataclass(frozen=True)
class Traced:
    collector: Collector
    folder: Path

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "traces.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Four steps, of which every second is traced."""
    folder = tmp_path_factory.mktemp("traced")
    rule = {"name": "digits", "rule": {"kind": "digits"}}
    with collecting() as collector:
        tracing = {"endpoint": collector.endpoint}
        with process(folder / "server", models=[rule], tracing=tracing) as server:
            path = settings_file(folder, server.address, tracing={**tracing, "every": 2})
            code, errors = finish(start(path))
            assert code == 0, errors
            assert "span" not in errors
            server.end()
        yield Traced(collector, folder / "run")


def one(spans: list[Collected], name: str, service: str) -> Collected:
    (found,) = [span for span in spans if (span.name, span.service) == (name, f"plaudit {service}")]
    return found


def test_every_second_step_is_a_trace_over_three_processes(run: Traced) -> None:
    steps = {span.attributes["step"]: span for span in run.collector.spans if span.name == "step"}
    assert sorted(steps) == [0, 2]
    assert {span.trace for span in run.collector.spans} == {step.trace for step in steps.values()}
    assert {step.attributes["run"] for step in steps.values()} == {"run"}
    for step in steps:
        found = Counter((span.service, span.name) for span in run.collector.of_step(step))
        assert found == Counter(
            {("plaudit trainer", name): 1 for name in ("step", *PHASES, "RewardService/Score")}
            | {("plaudit rollout worker", "worker.generate"): GROUPS}
            | {("plaudit reward server", name): 1 for name in ("RewardService/Score", *STAGES, "encode")}
        )


@pytest.mark.parametrize("step", [0, 2])
def test_parents_are_those_who_asked_and_times_nest(run: Traced, step: int) -> None:
    spans = run.collector.of_step(step)
    root, generate, score = (one(spans, name, "trainer") for name in ("step", "generate", "score"))
    asked, answered = (one(spans, "RewardService/Score", service) for service in ("trainer", "reward server"))
    groups = [span for span in spans if span.name == "worker.generate"]
    phases = [one(spans, name, "trainer") for name in PHASES]
    stages = [one(spans, name, "reward server") for name in (*STAGES, "encode")]
    below = [(root, phases), (generate, groups), (score, [asked]), (asked, [answered]), (answered, stages)]
    assert root.parent == ""
    for parent, children in below:
        assert {child.parent for child in children} == {parent.id}
        assert all(parent.holds(child) for child in children)
    for earlier, later in (*pairwise(phases), *pairwise(stages)):
        assert earlier.end <= later.start


def test_a_group_says_who_made_it_with_which_weights_and_how_much(run: Traced) -> None:
    for step in (0, 2):
        groups = [span for span in run.collector.of_step(step) if span.name == "worker.generate"]
        assert {span.attributes["policy_version"] for span in groups} == {step}
        assert {span.attributes["requests"] for span in groups} == {4}
        metrics = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        assert sum(span.attributes["tokens"] for span in groups) == metrics[step]["generated_tokens"]


def test_spans_hold_nothing_that_people_or_models_wrote(run: Traced) -> None:
    """Prompts begin with "the cat"."""
    assert not any("cat" in str(span) for span in run.collector.spans)
    assert "cat" not in (run.folder / "traces.jsonl").read_text()


def test_the_file_has_the_same_spans_and_the_stages_that_the_server_told_of(run: Traced) -> None:
    rows = run.rows()
    sent = {span.id: span for span in run.collector.spans if span.service != "plaudit reward server"}
    kept = {row["span"]: row for row in rows if row["service"] != "reward server"}
    assert kept.keys() == sent.keys()
    for name, row in kept.items():
        span = sent[name]
        assert (row["trace"], row["parent"] or "", row["name"]) == (span.trace, span.parent, span.name)
        assert row["start"] == pytest.approx(span.start / 1e9, abs=1e-6)
        assert row["seconds"] == (span.end - span.start) / 1e9
    for row in (row for row in rows if row["service"] == "reward server"):
        asked = kept[row["parent"]]
        assert asked["name"] == "RewardService/Score"
        assert asked["start"] <= row["start"] <= row["start"] + row["seconds"] <= asked["start"] + asked["seconds"]
        (real,) = [s for s in run.collector.spans if s.trace == row["trace"] and s.name == row["name"]]
        assert row["seconds"] == pytest.approx((real.end - real.start) / 1e9, abs=2e-6)


def test_the_report_draws_both_steps(run: Traced) -> None:
    page = (run.folder / "report.html").read_text()
    assert page.count('<figure class="card plot waterfall">') == 2
    assert "lanes: trainer, worker 1, reward server" in page
