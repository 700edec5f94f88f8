"""Pages of metrics as numbers, and quantiles as Prometheus has them."""

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from plaudit.top.page import Page, parse, quantile

BOUNDS = (-1.0, 0.0, 0.5, 1.0, 4.0)

ONE = """\
# HELP plaudit_calls_total Calls.
# TYPE plaudit_calls_total counter
plaudit_calls_total{code="OK",method="Score"} 7.0
plaudit_calls_total{code="OK",method="Rank"} 2.0
plaudit_calls_total{code="INTERNAL",method="Score"} 1.0
# TYPE plaudit_queue gauge
plaudit_queue 3.0
# TYPE python_info gauge
python_info{version="3"} 1.0
"""


def test_samples_are_summed_by_their_labels() -> None:
    page = parse(ONE)
    assert page.value("plaudit_calls_total") == 10
    assert page.value("plaudit_calls_total", code="OK") == 9
    assert page.value("plaudit_calls_total", code="OK", method="Rank") == 2
    assert page.by("plaudit_calls_total", "code") == {"INTERNAL": 1, "OK": 9}
    assert ("plaudit_queue" in page, "python_info" in page) == (True, False)
    assert page.value("plaudit_absent") == 0


@pytest.mark.parametrize(
    "text",
    [
        'plaudit_a{b="c" 1',
        "plaudit_a one",
        "plaudit_a " + "9" * 400,
        'plaudit_a{="c"} 1',
        'plaudit_a_bucket{le="x"} 1',
        "plaudit_a_bucket 1",
        "plaudit_\x00 1",
    ],
)
def test_what_is_no_page_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the parser's own words
        parse(f"{text}\n")


@given(st.text())
def test_no_text_does_any_other_harm(text: str) -> None:
    try:
        page = parse(f"plaudit_{text}")
    except ValueError:
        return
    assert all(name.startswith("plaudit_") for name in page.samples)


def test_labels_cannot_move_the_cursor() -> None:
    page = parse('plaudit_a{model="x\x1b[2Jy\u202e"} 1\n')
    assert page.by("plaudit_a", "model") == {"x\ufffd[2Jy\ufffd": 1}


def test_growth_and_a_process_that_begins_anew() -> None:
    before, after = parse(ONE), parse(ONE.replace("7.0", "12.0") + "plaudit_new_total 4.0\n")
    assert after.since(before).by("plaudit_calls_total", "method") == {"Rank": 0, "Score": 5}
    assert after.since(before).value("plaudit_new_total") == 4
    assert not after.began_anew(before)
    assert before.began_anew(after)
    assert parse("plaudit_queue 1.0\n").began_anew(before)  # the counts are gone
    assert not parse(ONE.replace("plaudit_queue 3.0", "plaudit_queue 1.0")).began_anew(before)


@pytest.mark.parametrize(("suffix", "anew"), [("_bucket", True), ("_count", True), ("_sum", False)])
def test_a_histogram_s_sum_may_fall(suffix: str, anew: bool) -> None:
    before, after = (Page({f"plaudit_reward_score{suffix}": {frozenset(): value}}) for value in (3.0, 2.0))
    assert after.began_anew(before) is anew


def share_below(x: float, buckets: list[tuple[float, float]]) -> float:
    """Cumulative count at x, evenly spread within each bucket: the definition that is inverted."""
    if x <= min(0.0, buckets[0][0]):
        return buckets[0][1] if x == buckets[0][0] else 0.0
    bounds = [bound for bound, _ in buckets]
    at = bisect_left(bounds, x)
    (start, below) = buckets[at - 1] if at else (0.0, 0.0)
    bound, count = buckets[at]
    return below + (count - below) * (x - start) / (bound - start)


def slowly(q: float, buckets: list[tuple[float, float]]) -> float:
    """The least x below the last finite bound with a share of q below it, by bisection."""
    low, high = min(0.0, buckets[0][0]), buckets[-2][0]
    rank = q * buckets[-1][1]
    if buckets[-2][1] < rank:
        return high
    if share_below(low, buckets) >= rank:
        return low
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if share_below(middle, buckets) >= rank else (middle, high)
    return high


observations = st.lists(st.floats(-2, 6), min_size=1, max_size=60)
"""Some below the first bound, some above the last."""


@given(st.sampled_from([BOUNDS, BOUNDS[2:]]), observations, st.floats(0.01, 1))
def test_quantiles_are_those_of_the_histogram(bounds: tuple[float, ...], values: list[float], q: float) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("plaudit_h", "Values.", ["kind"], buckets=bounds, registry=registry)
    for index, value in enumerate(values):
        histogram.labels("ab"[index % 2]).observe(value)
    buckets = parse(generate_latest(registry).decode()).buckets("plaudit_h")
    found = quantile(q, buckets)
    assert found == pytest.approx(slowly(q, buckets), abs=1e-9)
    assert found is not None
    true = sorted(values)[math.ceil(q * len(values) - 1e-9) - 1]  # in the same bucket
    at = bisect_left(bounds, true)
    assert found <= (bounds[at] if at < len(bounds) else bounds[-1])
    if at:
        assert found >= bounds[at - 1] - 1e-9


def test_a_quantile_by_hand() -> None:
    buckets = [(1.0, 2.0), (2.0, 6.0), (4.0, 8.0), (math.inf, 10.0)]
    assert quantile(0.1, buckets) == 0.5
    assert quantile(0.5, buckets) == 1.75
    assert quantile(0.8, buckets) == 4.0
    assert quantile(0.99, buckets) == 4.0
    assert quantile(0.5, [(1.0, 0.0), (math.inf, 0.0)]) is None
    assert quantile(0.5, []) is None


def test_an_empty_page_has_nothing() -> None:
    registry = CollectorRegistry()
    Counter("plaudit_a", "Without a child.", ["l"], registry=registry)
    page = parse(generate_latest(registry).decode())
    assert (page.by("plaudit_a_total", "l"), page.buckets("plaudit_h")) == ({}, [])
    assert not page.began_anew(Page())
