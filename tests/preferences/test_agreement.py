"""Accuracy, its uncertainty and the length rule, against slow obvious versions and known distributions."""

import math
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.preferences.agreement import agreement
from plaudit.preferences.reading import Preference, Side

NUMBERS = count()


def preference(chosen_length, rejected_length):
    """Of a prompt of its own."""
    prompt = f"q {next(NUMBERS)}"
    return Preference(Side(prompt, "x" * chosen_length), Side(prompt, "x" * rejected_length), "f:1")


PAIRS = st.lists(st.tuples(*[st.integers(-2, 2)] * 2, *[st.integers(0, 3)] * 2), min_size=2, max_size=30)


@given(PAIRS)
def test_counts_as_the_obvious_loop_does(pairs):
    found = agreement([p[0] for p in pairs], [p[1] for p in pairs], [preference(p[2], p[3]) for p in pairs])
    right = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b, _, _ in pairs]
    longer = [1.0 if c > d else 0.5 if c == d else 0.0 for _, _, c, d in pairs]
    n = len(pairs)
    assert found.accuracy.value == pytest.approx(sum(right) / n)
    assert found.accuracy_ties_wrong.value == pytest.approx(sum(value == 1 for value in right) / n)
    assert found.length_rule.value == pytest.approx(sum(longer) / n)
    assert found.gain.value == pytest.approx(sum(right) / n - sum(longer) / n)
    assert found.ties == right.count(0.5)
    variance = sum((value - sum(right) / n) ** 2 for value in right) / (n - 1)
    assert found.accuracy.standard_error == pytest.approx(math.sqrt(variance / n))


def test_the_gain_is_paired_so_agreeing_with_the_length_rule_leaves_no_uncertainty():
    preferences = [preference(*lengths) for lengths in [(2, 1), (1, 2), (3, 1), (1, 5)]]
    found = agreement([2, 1, 3, 1], [1, 2, 1, 5], preferences)
    assert (found.gain.value, found.gain.standard_error) == (0, 0)
    assert found.accuracy.standard_error > 0.2


def test_pairs_of_one_prompt_hang_together():
    lengths = [(2, 1), (1, 2), (3, 1), (1, 5)]
    once = agreement([2, 1, 3, 1], [1, 2, 1, 0], [preference(*one) for one in lengths])
    same = [preference(*one) for one in lengths]
    thrice = agreement([2, 1, 3, 1] * 3, [1, 2, 1, 0] * 3, same * 3)
    assert thrice.accuracy.standard_error == pytest.approx(once.accuracy.standard_error)
    assert (once.accuracy.n, thrice.accuracy.n) == (4, 12)
    assert agreement([2, 1], [1, 2], same[:1] * 2).accuracy.standard_error is None


def test_one_pair_has_no_standard_error():
    assert agreement([1], [0], [preference(1, 2)]).accuracy.standard_error is None
