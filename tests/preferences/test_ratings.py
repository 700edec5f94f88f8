"""Ratings are read with their place, and a fit's figures are right, their standard errors too."""

import json

import numpy as np
import pytest

from plaudit.errors import ConfigurationError
from plaudit.preferences.ratings import fit, read_ratings
from plaudit.rows import DataSettings
from plaudit.trajectory import Message


def data(tmp_path, *rows):
    path = tmp_path / "ratings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSettings(source=str(path))


def test_stars_and_thumbs_are_read(tmp_path):
    asked = [{"role": "user", "content": "Hi"}]
    rows = [{"prompt": "Hi", "response": "Yes?", "score": 4}, {"prompt": asked, "response": "", "score": -1.0}]
    stars, thumb = read_ratings(data(tmp_path, *rows))
    assert (stars.side.text, stars.side.response, stars.score) == ("Hi", "Yes?", 4.0)
    assert thumb.side.messages == (Message("user", "Hi"), Message("assistant", ""))
    assert thumb.where.endswith("ratings.jsonl:2")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Hi", "response": "Yes?"}, "ratings.jsonl:1: 'score' must be a finite number, found null"),
        ({"prompt": "Hi", "response": "Yes?", "score": "good"}, "'score' must be a finite number, found 'good'"),
        ({"prompt": "Hi", "response": "Yes?", "score": True}, "'score' must be a finite number"),
        ({"prompt": "Hi", "score": 1}, "'response' is missing"),
    ],
)
def test_what_is_no_rating_is_named(tmp_path, row, message):
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        read_ratings(data(tmp_path, row))


def test_figures_by_hand():
    found = fit([1.0, 2.0, 3.0, 6.0], [1.0, 2.0, 3.0, 4.0], range(4))
    assert found.r_squared.value == pytest.approx(1 - 4 / 5)
    assert found.correlation.value == pytest.approx(np.corrcoef([1, 2, 3, 6], [1, 2, 3, 4])[0, 1])
    assert found.r_squared.n == found.correlation.n == 4


def test_a_constant_unit_changes_r_squared_but_no_correlation():
    scores = np.random.default_rng(0).normal(size=50)
    guess = scores + np.random.default_rng(1).normal(size=50)
    plain, moved, halved = (fit(one, scores, range(50)) for one in (guess, 3 * guess + 1, guess / 2))
    assert moved.correlation.value == pytest.approx(plain.correlation.value)
    assert moved.r_squared.value < 0 < halved.r_squared.value


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_standard_errors_are_the_spread_over_many_draws(noise):
    random = np.random.default_rng(0)
    draws = []
    for _ in range(2_000):
        scores = random.normal(size=300)
        guess = scores / (1 + noise**2) + noise * random.normal(size=300) / (1 + noise**2)
        draws.append(fit(guess, scores, range(300)))
    for name in ("r_squared", "correlation"):
        assert stated(draws, name) == pytest.approx(spread(draws, name), rel=0.08)


def test_what_several_people_say_of_one_response_hangs_together():
    """Five ratings of each of 60 responses: to take them for 300 would be to claim twice as much."""
    random = np.random.default_rng(0)
    responses, people = np.repeat(np.arange(60), 5), range(300)
    draws, claimed = [], []
    for _ in range(1_000):
        worth = random.normal(size=60)
        guess = (0.5 * worth + 0.5 * random.normal(size=60))[responses]
        scores = worth[responses] + 0.3 * random.normal(size=300)
        draws.append(fit(guess, scores, responses.tolist()))
        claimed.append(fit(guess, scores, people))
    for name in ("r_squared", "correlation"):
        assert stated(draws, name) == pytest.approx(spread(draws, name), rel=0.1)
        assert stated(claimed, name) < 0.6 * spread(draws, name)


def spread(draws, name):
    return np.std([getattr(draw, name).value for draw in draws])


def stated(draws, name):
    return np.mean([getattr(draw, name).standard_error for draw in draws])
