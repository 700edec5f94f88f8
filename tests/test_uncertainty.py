"""Means, standard errors and intervals, against the textbook and against known distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.uncertainty import Estimate, clustered_mean, mean, paired_difference, weighted_means

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


PARTS = st.lists(
    st.tuples(st.floats(0.1, 3), st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 4)), min_size=2, max_size=12)),
    min_size=1,
    max_size=4,
).filter(lambda parts: all(len({group for _, group in rows}) > 1 for _, rows in parts))


@given(PARTS)
def test_weighted_means_are_what_the_obvious_loop_says(parts):
    value, pulls = 0.0, {}
    for weight, rows in parts:
        centre = sum(number for number, _ in rows) / len(rows)
        value += weight * centre
        many = len({group for _, group in rows})
        for number, group in rows:
            pull = weight * (number - centre) / len(rows) * math.sqrt(many / (many - 1))
            pulls[group] = pulls.get(group, 0.0) + pull
    found = weighted_means([(weight, [row[0] for row in rows], [row[1] for row in rows]) for weight, rows in parts])
    assert found.value == pytest.approx(value, abs=1e-9)
    assert found.standard_error == pytest.approx(math.sqrt(sum(pull**2 for pull in pulls.values())), abs=1e-9)


@given(PARTS)
def test_where_parts_share_no_group_squared_errors_add_up(parts):
    found = weighted_means(
        [(w, [row[0] for row in rows], [(at, row[1]) for row in rows]) for at, (w, rows) in enumerate(parts)]
    )
    alone = [clustered_mean([row[0] for row in rows], [row[1] for row in rows]).standard_error for _, rows in parts]
    by_hand = math.sqrt(sum((weight * error) ** 2 for (weight, _), error in zip(parts, alone, strict=True)))
    assert found.standard_error == pytest.approx(by_hand, abs=1e-9)


def test_weighted_means_of_shared_groups_have_the_spread_of_other_samples():
    """Two sets of answers to the same prompts: as if they were of others, too little would seem unknown."""
    random = np.random.default_rng(0)
    shared = random.normal(size=(500, 60))
    both = [(prompts + 0.5 * random.normal(size=60), prompts + 0.5 * random.normal(size=60)) for prompts in shared]
    groups = list(range(60))
    found = [weighted_means([(0.3, one, groups), (0.7, two, groups)]) for one, two in both]
    spread = np.std([one.value for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.1)
    apart = [weighted_means([(0.3, one, groups), (0.7, two, [-1 - at for at in groups])]) for one, two in both]
    assert np.mean([one.standard_error for one in apart]) < 0.85 * spread


def test_of_a_part_with_a_single_group_nothing_is_known_of_the_whole():
    assert weighted_means([(0.5, [0.0, 1.0], "ab"), (0.5, [1.0, 1.0], "cc")]) == Estimate(0.75, None, 4)
