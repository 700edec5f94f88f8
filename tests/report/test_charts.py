import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.report import axes, charts, formatting
from plaudit.report.charts import MOST_POINTS, Series, chart, stacked, thinned
from plaudit.uncertainty import Estimate

RANGES = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def series(values: list[float]) -> Series:
    return Series("s", "blue", list(range(len(values))), values)


@given(RANGES)
def test_ticks_lie_inside_and_are_evenly_spaced(limits):
    low, high = axes.domain(limits, zero=False)
    marks = axes.ticks(low, high)
    assert 2 <= len(marks) <= 7
    assert all(low - 1e-6 * (high - low) <= at <= high + 1e-6 * (high - low) for at in marks)


@given(st.floats(1e-3, 1e6))
def test_ticks_of_a_root_scale_are_round_and_apart(last):
    marks = axes.root_ticks(last)
    places = [math.sqrt(at / last) for at in marks]
    assert marks[0] == 0
    assert 3 <= len(marks) <= 9
    assert places[-1] <= 1
    assert all(right - left >= 0.124 for left, right in pairwise(places))
    assert all(f"{at:e}"[:8] in ("1.000000", "2.000000", "5.000000") for at in marks[1:])


@pytest.mark.parametrize("kls", [[0.0, 0.0], [-0.002, 0.0], [-0.2, -0.1], [0.0]])
def test_a_kl_that_is_nowhere_above_0_is_drawn(kls):
    """A policy that hardly moves: k1 is of either sign."""
    drawn = chart("t", "u", [Series("s", "blue", kls, [1.0] * len(kls))], along="KL")
    across = [x for x, _ in drawn.curves[0].dots] + [mark.at for mark in drawn.x_ticks]
    assert across
    assert all(charts.LEFT <= x <= charts.WIDTH for x in across)


def test_a_root_scale_gives_equal_room_to_equal_ways():
    scale = axes.Scale(0, 16, 0, 100, root=True)
    assert [scale(at) for at in (0, 1, 4, 9, 16)] == [0, 25, 50, 75, 100]
    assert axes.Scale(-1, 1, 0, 100, root=True)(-0.25) == 25


def test_tick_labels_have_the_decimals_their_axis_needs():
    assert [axes.label(at, 0.05) for at in (-0.05, 0.0, 0.1)] == ["\u22120.05", "0", "0.10"]
    assert axes.label(2.5, 2.5) == "2.5"
    assert axes.label(4000, 1000) == "4,000"
    assert axes.label(2e-7, 1e-7) == "2\u00d710⁻⁷"


def test_higher_values_are_drawn_higher_and_later_steps_further_right():
    path = chart("t", "u", [series([0.0, 1.0, 4.0])]).curves[0].line
    points = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", path)]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[0][1] > points[1][1] > points[2][1]
    assert points[0][1] - points[2][1] == pytest.approx(4 * (points[0][1] - points[1][1]), abs=0.5)


def test_a_value_that_is_not_finite_leaves_a_gap():
    drawn = chart("t", "u", [series([1.0, 2.0, math.nan, 3.0, 4.0, math.inf, 5.0])]).curves[0]
    assert drawn.line.count("M") == 2
    assert "nan" not in drawn.line
    assert "inf" not in drawn.line


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_without_a_finite_value_there_is_no_curve(values):
    assert chart("t", "u", [series(values)]).curves == []


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e30])
def test_one_step_is_a_dot_inside_the_axes(value):
    ((x, y),) = chart("t", "u", [series([value])], zero=True).curves[0].dots
    assert charts.LEFT <= x <= charts.WIDTH
    assert charts.TOP - 1 <= y <= charts.HEIGHT - charts.BOTTOM + 1


def test_a_long_series_is_thinned_without_losing_its_spikes():
    values = [0.0] * 10_000
    values[7321], values[2222] = 9.0, -9.0
    kept = thinned(series(values))
    assert len(kept) <= MOST_POINTS + 2
    assert {7321, 2222} <= set(kept)


def test_layers_of_a_stack_rest_on_each_other():
    stack = stacked("t", "u", [series([1.0, 2.0]), series([3.0, 4.0])])
    assert [list(curve.series.high) for curve in stack.curves] == [[1.0, 2.0], [4.0, 6.0]]
    assert list(stack.curves[1].series.low) == [1.0, 2.0]


def test_the_bound_is_inside_the_axes():
    limited = chart("t", "u", [series([1.0, 2.0])], references=[(50.0, "bound")])
    assert charts.TOP <= limited.references[0].at <= charts.HEIGHT - charts.BOTTOM


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1234, "0.123"),
        (-12.345, "\u221212.35"),
        (1234.5, "1,234"),
        (60, "60"),
        (1.2e-7, "1.2\u00d710⁻⁷"),
        (None, formatting.MISSING),
    ],
)
def test_numbers_show_three_digits(value, shown):
    assert formatting.number(value) == shown


def test_errors_show_two_digits():
    assert formatting.with_error(Estimate(0.71349, 0.01023, 9)) == "0.713 ±0.010"
    assert formatting.with_error(Estimate(2.0, None, 1)) == "2.000"
    assert formatting.with_error(None) == formatting.MISSING


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.416, "0.42 s"), (59.0, "59.0 s"), (222, "3 min 42 s"), (7500, "2 h 05 min"), (None, "\u2013")],
)
def test_durations(seconds, shown):
    assert formatting.duration(seconds).replace("\u202f", " ") == shown
