"""What is done to scores before the policy learns from them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.ppo.scores import RunningMoments, ScoreShaper
from plaudit.ppo.settings import ScoreSettings

from .ragged import ragged_batch

BATCHES = st.lists(st.lists(st.integers(-1000, 1000), min_size=1, max_size=6), min_size=1, max_size=5)


def batch_of(*scores: float, truncated: tuple[bool, ...] = ()):
    batch = ragged_batch(rows=len(scores))
    cut = np.array(truncated or [False] * len(scores))
    return dataclasses.replace(batch, scores=np.array(scores, np.float32), truncated=cut)


@given(BATCHES, st.integers(-(10**6), 10**6))
def test_running_moments_are_those_of_all_that_was_seen(batches: list[list[int]], offset: int):
    """A large mean does not eat the deviations."""
    moments = RunningMoments()
    for batch in batches:
        moments.update(np.array(batch, np.float64) + offset)
    everything = [number + offset for batch in batches for number in batch]
    assert moments.mean == pytest.approx(np.mean(everything), rel=1e-9, abs=1e-9)
    expected = np.std(everything, ddof=1) if len(everything) > 1 else 0.0
    assert moments.std == pytest.approx(expected if expected > 1e-6 else 1.0, rel=1e-6)


def test_scores_stay_what_they_are_unless_asked():
    batch = batch_of(1.5, -70.0, truncated=(True, False))
    assert ScoreShaper(ScoreSettings()).shape(batch).tolist() == [1.5, -70.0]


def test_a_response_without_an_end_costs():
    shaper = ScoreShaper(ScoreSettings(missing_eos_penalty=2.0))
    assert shaper.shape(batch_of(1.0, 1.0, truncated=(True, False))).tolist() == [-1.0, 1.0]


def test_penalty_then_normalisation_then_clipping():
    shaper = ScoreShaper(ScoreSettings(missing_eos_penalty=4.0, normalisation="standardise", clip=1.0))
    shaped = shaper.shape(batch_of(2.0, 2.0, 2.0, 6.0, truncated=(False, False, True, False)))
    before = np.array([2.0, 2.0, -2.0, 6.0])
    expected = np.clip((before - before.mean()) / before.std(ddof=1), -1, 1)
    np.testing.assert_allclose(shaped, expected, rtol=1e-5, atol=1e-6)
    assert shaped.tolist()[2:] == [-1.0, 1.0]


def test_scaling_leaves_the_sign():
    shaper = ScoreShaper(ScoreSettings(normalisation="scale"))
    np.testing.assert_allclose(shaper.shape(batch_of(3.0, 5.0)), np.array([3, 5]) / np.std([3, 5], ddof=1), rtol=1e-6)


def test_the_first_equal_scores_are_not_blown_up():
    assert ScoreShaper(ScoreSettings(normalisation="standardise")).shape(batch_of(0.3, 0.3)).tolist() == [0.0, 0.0]
    assert ScoreShaper(ScoreSettings(normalisation="scale")).shape(batch_of(0.5)).tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(("score", "penalty"), [(0.3, 0.1), (0.7, 2.3)])
def test_equal_scores_less_an_equal_penalty_are_equal(score: float, penalty: float):
    """The mean of equal numbers rounds: what is left of it is no deviation."""
    for size in range(2, 12):
        shaper = ScoreShaper(ScoreSettings(missing_eos_penalty=penalty, normalisation="standardise"))
        shaped = shaper.shape(batch_of(*[score] * size, truncated=(True,) * size))
        assert np.abs(shaped).max() < 1e-6


def test_it_goes_on_from_its_state():
    first, second = (ScoreShaper(ScoreSettings(normalisation="standardise")) for _ in range(2))
    first.shape(batch_of(1.0, 2.0, 4.0))
    second.load_state(first.state())
    again = batch_of(-1.0, 8.0)
    np.testing.assert_array_equal(first.shape(again), second.shape(again))
