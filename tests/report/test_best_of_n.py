"""Best-of-n from m answers: against every draw there is, a closed form, and the bound of its KL."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.report.best_of_n import best_of_n, expected_best, kl_bound
from plaudit.report.run_folder import Sample

ANSWERS = st.lists(st.tuples(st.integers(0, 4), st.floats(-5, 5)), min_size=1, max_size=7)


def over_all_draws(values: list[float], scores: list[float], n: int) -> float:
    """By enumeration; among several highest, their mean."""
    found = []
    for draw in itertools.combinations(range(len(scores)), n):
        top = max(scores[index] for index in draw)
        found.append(np.mean([values[index] for index in draw if scores[index] == top]))
    return float(np.mean(found))


@given(ANSWERS, st.integers(1, 7))
def test_it_is_the_mean_over_every_draw(answers, n):
    scores, values = [float(score) for score, _ in answers], [value for _, value in answers]
    n = min(n, len(answers))
    assert expected_best(scores, scores, n) == pytest.approx(over_all_draws(scores, scores, n))
    if len(set(scores)) == len(scores):
        assert expected_best(values, scores, n) == pytest.approx(over_all_draws(values, scores, n))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=7), st.integers(1, 7))
def test_tied_answers_share_what_they_win(values, n):
    n = min(n, len(values))
    assert expected_best(values, [0.0] * len(values), n) == pytest.approx(np.mean(values))


def test_of_uniform_scores_it_is_n_over_n_plus_one():
    numbers = np.random.default_rng(1)
    samples = [Sample(str(prompt), "", "", score=s) for prompt in range(400) for s in numbers.uniform(size=16).tolist()]
    rows = best_of_n(samples)
    assert [row.n for row in rows] == [1, 2, 4, 8, 16]
    for row in rows:
        assert row.score is not None
        assert row.score.standard_error is not None
        assert abs(row.score.value - row.n / (row.n + 1)) < 3 * row.score.standard_error


def test_gold_is_that_of_the_answer_which_scores_highest():
    samples = [Sample("a", "", "", score=float(s), gold=-float(s)) for s in range(4)]
    last = best_of_n(samples)[-1]
    assert (last.n, last.score.value, last.gold.value) == (4, 3.0, -3.0)


def test_answers_without_a_score_do_not_count():
    samples = [Sample("a", "", "", score=s) for s in (1.0, 2.0, None)]
    assert [row.n for row in best_of_n(samples)] == [1, 2]
    assert best_of_n([]) == []


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_the_kl_of_best_of_n_is_at_most_its_bound(n):
    """Of k equally likely answers with different scores, the best of n has the i-th with ((i/k)^n - ((i-1)/k)^n)."""
    for answers in (2, 10, 1000):
        edges = np.arange(answers + 1) / answers
        chosen = np.diff(edges**n)
        kl = float(np.sum(chosen * np.log(chosen * answers, where=chosen > 0, out=np.zeros(answers))))
        assert kl <= kl_bound(n) + 1e-12
    assert kl == pytest.approx(kl_bound(n), abs=0.02)  # it is reached where no two answers are alike
    assert kl_bound(n) == pytest.approx(math.log(n) - (n - 1) / n)
