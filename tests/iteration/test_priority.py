"""What an ensemble is unsure of comes first."""

import numpy as np
import pytest

from plaudit.iteration.priority import apart, most_uncertain_pair, priority

SCORES = [[1.0, 0.0, 2.0], [0.0, 0.5, 2.0]]


def test_how_far_members_are_apart_is_the_deviation_of_their_differences() -> None:
    assert apart(SCORES, 0, 1) == pytest.approx(1.06066, abs=1e-5)  # of 1.0 and -0.5
    assert apart(SCORES, 0, 2) == pytest.approx(0.70711, abs=1e-5)  # of -1.0 and -2.0
    assert priority(SCORES) == pytest.approx((1.06066 + 0.70711 + 0.35355) / 3, abs=1e-5)
    assert priority([[1.0], [2.0]]) == pytest.approx(0.70711, abs=1e-5)
    assert most_uncertain_pair(SCORES) == (0, 1)


def test_a_member_that_scores_everything_higher_changes_nothing() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5))
    shifted = scores + np.array([[0.0], [10.0], [-3.0], [1.0]])
    assert priority(shifted.tolist()) == pytest.approx(priority(scores.tolist()))
    assert most_uncertain_pair(shifted.tolist()) == most_uncertain_pair(scores.tolist())


def test_members_that_agree_are_sure() -> None:
    assert priority([[1.0, 2.0]] * 3) == 0.0
