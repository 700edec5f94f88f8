"""Waterfalls: which steps, which lanes, where the bars lie."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from plaudit.report import waterfall
from plaudit.report.charts import RIGHT, WIDTH
from plaudit.report.run_folder import Span, read
from plaudit.report.waterfall import LEFT, MOST_ROWS, MOST_WORKERS, ROW, waterfalls

from .pages import page_of
from .run_folders import write_run

EPOCH = 1_800_000_000.0


def span(name: str, start: float, seconds: float, id: str = "", parent: str = "", **attributes: Any) -> Span:
    server = name in waterfall.STAGES
    return Span(id, parent, name, "reward server" if server else "trainer", EPOCH + start, seconds, attributes)


def step(number: int, start: float, seconds: float = 10.0, workers: int = 2) -> list[Span]:
    """Generates for 4 s on each worker, scores for 2, updates for the rest."""
    root = f"step-{number}"
    groups = [span("worker.generate", start, 4, worker=f"m:{n}", requests=8, tokens=90) for n in range(workers)]
    return [
        *groups,
        span("generate", start, 4, parent=root),
        span("RewardService/Score", start + 4, 2, f"ask-{number}", "score"),
        span("queue", start + 4.5, 0.5, parent=f"ask-{number}"),
        span("forward", start + 5, 0.5, parent=f"ask-{number}"),
        span("score", start + 4, 2, parent=root),
        span("update", start + 6, seconds - 6, parent=root),
        span("step", start, seconds, root, step=number),
    ]


def test_the_median_and_the_slowest_of_the_traced_steps_are_drawn() -> None:
    spans = [one for number, seconds in enumerate([9, 30, 12, 11, 10]) for one in step(number, 50 * number, seconds)]
    assert [one.title for one in waterfalls(spans)] == ["Step 3, the median of 5 traced", "Step 1, the slowest"]
    assert [one.title for one in waterfalls(step(4, 0))] == ["Step 4"]
    assert waterfalls([]) == []


def test_of_a_step_that_was_run_again_the_later_time_counts() -> None:
    (drawn,) = waterfalls([*step(0, 0, 10), *step(0, 50, 8)])
    assert drawn.seconds == 8


def test_a_lane_for_each_process_and_in_it_bars_where_the_time_went() -> None:
    (drawn,) = waterfalls(step(0, 0))
    trainer, first, second, server = drawn.lanes
    assert [lane.name for lane in drawn.lanes] == ["trainer", "worker 1", "worker 2", "reward server"]
    tenth = (WIDTH - RIGHT - LEFT) / 10
    assert [(bar.tone, bar.x, bar.width) for bar in trainer.bars] == [
        (tone, pytest.approx(LEFT + at * tenth, abs=0.1), pytest.approx(wide * tenth, abs=0.2))
        for tone, at, wide in (("phase-generate", 0, 4), ("phase-score", 4, 2), ("phase-update", 6, 4))
    ]
    assert first.bars[0].x == second.bars[0].x
    assert first.bars[0].text.replace("\u202f", " ") == "worker.generate 4.00 s, 8 requests, 90 tokens"
    assert [bar.tone for bar in server.bars] == ["grey", "gold"]
    (frame,) = server.frames
    assert frame.x < server.bars[0].x
    assert frame.x + frame.width > server.bars[1].x + server.bars[1].width
    assert all(lane.bottom < below.top for lane, below in zip(drawn.lanes, drawn.lanes[1:], strict=False))
    assert [mark.text for mark in drawn.x_ticks] == ["0", "2", "4", "6", "8", "10"]


def test_what_overlaps_lies_in_rows_of_its_own_as_far_as_there_is_room() -> None:
    asks = [(span("RewardService/Score", n, 20, f"ask{n}"), span("queue", n, 20, parent=f"ask{n}")) for n in range(40)]
    (drawn,) = waterfalls([*step(0, 0, 100), *(one for pair in asks for one in pair)])
    server = drawn.lanes[-1]
    assert server.bottom - server.top == MOST_ROWS * ROW
    assert len(server.frames) == 41
    assert len({bar.y for bar in server.frames}) == MOST_ROWS


def test_what_other_steps_asked_for_is_cut_where_the_step_begins_and_ends() -> None:
    ahead = [span("worker.generate", at, 20, worker="m:0") for at in (-15, 5, 15, -30)]
    (drawn,) = waterfalls([span("step", 0, 10, "s", step=1), *ahead])
    bars = drawn.lanes[1].bars
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert [(bar.x, round(bar.x + bar.width, 1)) for bar in bars] == [(LEFT, middle), (middle, WIDTH - RIGHT)]


def test_of_many_workers_some_are_drawn_and_the_rest_counted() -> None:
    (drawn,) = waterfalls(step(0, 0, workers=MOST_WORKERS + 5))
    assert len(drawn.lanes) == MOST_WORKERS + 2
    assert drawn.note == "and 5 more workers"


def rows(steps: int) -> list[dict[str, Any]]:
    chance = random.Random(0)
    spans = [one for number in range(steps) for one in step(number, 20 * number, 10 + chance.random())]
    return [
        {"span": one.id, "parent": one.parent or None, "name": one.name, "service": one.service, "start": one.start,
         "seconds": one.seconds, "attributes": one.attributes}
        for one in spans
    ]  # fmt: skip


def write_traces(folder: Path, lines: list[Any]) -> None:
    (folder / "traces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_page_says_in_words_what_it_draws(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r")
    assert "lanes: " not in page_of(folder).markup
    write_traces(folder, rows(5))
    page = page_of(folder)
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert sum("lanes: trainer, worker 1, worker 2, reward server" in label for label in labels) == 2
    assert "the slowest" in page.text


def test_a_file_that_is_damaged_or_hostile_breaks_no_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r")
    strange = [{}, {"start": "x"}, {"start": 1e400, "seconds": 1}, {"start": EPOCH, "seconds": -5, "name": ["x"]}]
    root = {"start": EPOCH, "seconds": 0, "name": "step", "span": "r", "attributes": {"step": 3}}
    named = {"start": EPOCH, "seconds": 0, "name": "worker.generate", "attributes": {"worker": "<script>"}}
    write_traces(folder, [*strange, root | {"attributes": [1]}, root | {"attributes": {"step": "x"}}, root, named])
    with (folder / "traces.jsonl").open("a") as file:
        file.write('{"cut')
    assert "Step 3" in page_of(folder).text
    assert read(folder).problems == ["traces.jsonl line 9 could not be read and is left out"]
