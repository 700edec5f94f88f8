"""Means, standard errors and intervals, against the textbook and against known distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.uncertainty import Estimate, clustered_mean, mean, paired_difference

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


@given(VALUES)
def test_mean_and_standard_error_are_those_of_the_textbook(values):
    found = mean(values)
    centre = math.fsum(values) / len(values)
    variance = math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
    assert found.value == pytest.approx(centre, abs=1e-9)
    assert found.standard_error == pytest.approx(math.sqrt(variance / len(values)), abs=1e-9)
    assert paired_difference(values, values) == Estimate(0.0, 0.0, len(values))


def test_the_interval_covers_the_truth_95_times_in_100():
    random = np.random.default_rng(0)
    intervals = [mean(random.binomial(1, 0.65, size=300)).interval for _ in range(2000)]
    assert np.mean([low <= 0.65 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)


def test_one_value_has_a_mean_and_no_known_error():
    assert mean([2.0]) == Estimate(2.0, None, 1)
    assert mean([2.0]).interval is None


def test_in_text_the_error_stands_behind_the_value():
    assert f"{Estimate(0.1234, 0.0102):+.3f}" == "+0.123 ± 0.010"
    assert f"{Estimate(0.71349).scaled(100):.1f}" == "71.3"


@given(VALUES)
def test_where_every_group_has_one_value_a_clustered_mean_is_the_mean(values):
    found, expected = clustered_mean(values, range(len(values))), mean(values)
    assert (found.value, found.n) == (expected.value, expected.n)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-9)
    assert clustered_mean(values, ["one"] * len(values)).standard_error is None


def test_a_clustered_mean_has_the_spread_of_other_samples():
    """Of values that share more than half of their variance with their group: `mean` would claim to know more."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    samples = [random.normal(size=40)[groups] + 0.8 * random.normal(size=200) for _ in range(500)]
    found = [clustered_mean(sample, groups.tolist()) for sample in samples]
    spread = np.std([one.value for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.1)
    assert np.mean([mean(sample).standard_error for sample in samples]) < 0.7 * spread
