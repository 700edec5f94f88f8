"""Rates, means and curves from looks made by hand."""

import pytest

from plaudit.top.page import Page
from plaudit.top.seen import COURSE_SECONDS, ITEMS, RECENT_SECONDS, RunSeen, ServerSeen

STEPS, PHASE_SUM = "plaudit_trainer_steps_total", "plaudit_trainer_phase_duration_seconds_sum"


def page(**values: float) -> Page:
    return Page({name: {frozenset[tuple[str, str]](): value} for name, value in values.items()})


def step(steps: int, at: float, score: float, generate: float = 0.0) -> Page:
    one = page(
        plaudit_trainer_steps_total=steps,
        plaudit_trainer_last_step_timestamp_seconds=at,
        plaudit_ppo_score_mean=score,
    )
    phase = {frozenset({("phase", "generate")}): generate, frozenset({("phase", "update")}): generate / 3}
    return Page({**one.samples, PHASE_SUM: phase})


def test_a_run_s_rates_are_from_step_end_to_step_end() -> None:
    seen = RunSeen()
    for look in (step(3, 1000, 0.1, 30), step(3, 1000, 0.1, 30), step(4, 1010, 0.2, 45), step(6, 1040, 0.4, 60)):
        seen.look(look)
    assert seen.stretch.rate(STEPS) == pytest.approx(3 / 40)
    assert seen.stretch.grown.by(PHASE_SUM, "phase") == {"generate": 30, "update": 10}
    assert seen.course("plaudit_ppo_score_mean", 2) == [0.2, 0.4]


def test_after_one_step_they_are_those_of_all_its_steps() -> None:
    seen = RunSeen()
    assert seen.stretch.rate(STEPS) is None
    seen.look(step(0, 0, 0.0))
    assert (seen.stretch.rate(STEPS), seen.course("plaudit_ppo_score_mean", 9)) == (None, [])
    seen.look(step(6, 1000, 0.5, generate=90))  # and 30 for the update
    assert seen.stretch.rate(STEPS) == pytest.approx(6 / 120)


def test_a_look_in_the_middle_of_a_step_s_end_is_replaced() -> None:
    seen = RunSeen()
    for look in (step(1, 10, 0.1), step(2, 20, 0.1), step(2, 20, 0.7)):
        seen.look(look)
    assert seen.course("plaudit_ppo_score_mean", 9) == [0.1, 0.7]


def test_a_run_that_goes_on_in_another_process_counts_anew() -> None:
    seen = RunSeen()
    for look in (step(8, 100, 0.1), step(9, 110, 0.2), step(0, 0, 0.0), step(1, 500, 0.3, 3), step(2, 504, 0.4, 6)):
        seen.look(look)
    assert seen.stretch.rate(STEPS) == pytest.approx(1 / 4)
    assert seen.course("plaudit_ppo_score_mean", 9) == [0.1, 0.2, 0.3, 0.4]


def items(count: float) -> Page:
    return page(**{ITEMS: count})


def test_a_server_s_rates_are_of_the_last_seconds() -> None:
    seen = ServerSeen()
    seen.look(100.0, items(50))
    assert seen.stretch.rate(ITEMS) is None
    for second in range(1, 101):
        seen.look(100.0 + second, items(50 + (10 * second if second <= 90 else 900)))
    assert seen.stretch.seconds == RECENT_SECONDS
    assert seen.stretch.rate(ITEMS) == pytest.approx(10 * (RECENT_SECONDS - 10) / RECENT_SECONDS)


def test_a_server_s_curve_spans_minutes_whatever_the_looks_distance() -> None:
    seen = ServerSeen()
    for second in range(0, 91, 30):
        seen.look(second, items(60 * second if second <= 60 else 3600))
    course = seen.course(6)  # half a minute each; the server was first seen 90 s ago
    assert COURSE_SECONDS == 180
    assert course == [None, None, None, *map(pytest.approx, (60, 60, 0))]
    assert ServerSeen().course(6) == []


def test_a_server_that_begins_anew_is_not_counted_backwards() -> None:
    seen = ServerSeen()
    for at, count in ((0, 1000), (30, 4000), (60, 300)):
        seen.look(at, items(count))
    assert seen.stretch.rate(ITEMS) is None  # of the process that counts now there was one look
    for at, count in ((75, 450), (90, 600)):
        seen.look(at, items(count))
    assert seen.stretch.rate(ITEMS) == pytest.approx(10)
    assert seen.course(6)[3:] == [pytest.approx(100), pytest.approx(10), pytest.approx(10)]
