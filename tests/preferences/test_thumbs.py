"""Thumbs are read in both shapes, and how well scores tell up from down agrees with the obvious loops."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import ConfigurationError
from plaudit.preferences.thumbs import discrimination, read_thumbs
from plaudit.rows import DataSettings
from plaudit.trajectory import Message
from tests.row_helpers import turn


def data(tmp_path, *rows):
    path = tmp_path / "thumbs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSettings(source=str(path))


def test_trls_rows_and_ours_say_the_same(tmp_path):
    asked, who = [turn("user", "Hi")], {"annotator": "Ada", "weight": 2}
    found = read_thumbs(
        data(
            tmp_path,
            {"prompt": "Hi", "completion": "yes", "label": True},
            {"prompt": "Hi", "response": "yes", "thumb": "up"},
            {"prompt": asked, "completion": [turn("assistant", "no")], "label": False, **who},
            {"prompt": asked, "response": "no", "thumb": -1, **who},
        )
    )
    assert [thumb.up for thumb in found] == [True, True, False, False]
    assert found[0].side == found[1].side
    assert found[2].side == found[3].side
    assert (found[2].side.prompt, found[2].side.response) == ((Message("user", "Hi"),), "no")
    assert [(thumb.annotator, thumb.weight) for thumb in found] == [(None, 1.0)] * 2 + [("Ada", 2.0)] * 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p", "response": "r"}, "'label' is none of true, false"),
        ({"prompt": "p", "response": "r", "thumb": 5}, "'thumb' is none of true, false"),
        ({"prompt": "p", "thumb": True}, "'completion' is missing"),
        ({"response": "r", "thumb": True}, "'prompt' is missing"),
        ({"prompt": "p", "response": "r", "thumb": True, "weight": "much"}, "'weight' must be a finite number"),
        (
            {"prompt": "p", "completion": [turn("user", "a"), turn("assistant", "b")], "label": True},
            "'completion' has 2 messages: give the assistant's alone",
        ),
    ],
)
def test_a_row_that_is_no_thumb_is_named(tmp_path, row, message):
    with pytest.raises(ConfigurationError, match=rf"thumbs\.jsonl:1: {message}"):
        read_thumbs(data(tmp_path, row))


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=12), st.floats(0.1, 0.9))
def test_every_figure_agrees_with_the_obvious_loop(judged, base_rate):
    odds, up = zip(*judged, strict=True)
    found = discrimination(odds, up, base_rate, range(len(odds)))
    chances = [1 / (1 + math.exp(-one)) for one in odds]
    losses = [-math.log(chance if said else 1 - chance) for chance, said in zip(chances, up, strict=True)]
    base = [-math.log(base_rate if said else 1 - base_rate) for said in up]
    assert found.log_loss.value == pytest.approx(np.mean(losses))
    assert found.gain.value == pytest.approx(np.mean(base) - np.mean(losses))
    assert found.accuracy.value == pytest.approx(np.mean([0.5 if o == 0 else (o > 0) == s for o, s in judged]))
    assert found.base_accuracy.value == pytest.approx(np.mean([said == (base_rate >= 0.5) for said in up]))
    ups, downs = ([one for one, said in judged if said is which] for which in (True, False))
    if min(len(ups), len(downs)) < 2:
        assert found.auc is None
    else:
        assert found.auc.value == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a in ups for b in downs]))


def test_the_standard_error_of_the_auc_is_its_spread_over_data_drawn_anew():
    random = np.random.default_rng(0)
    found = []
    for _ in range(400):
        up = random.random(120) < 0.4
        found.append(discrimination(random.normal(size=120) + up, up, 0.4, range(120)).auc)
    spread = np.std([auc.value for auc in found])
    assert np.mean([auc.standard_error for auc in found]) == pytest.approx(spread, rel=0.1)


def test_of_thumbs_that_do_not_hang_together_the_auc_has_the_standard_error_of_delong():
    """By the obvious loop: the variance of each kind's places among the other, over how many there are."""
    random = np.random.default_rng(0)
    up = random.random(30) < 0.4
    odds = random.normal(size=30).round(1) + up
    places = [
        [np.mean([(one > other) + 0.5 * (one == other) for other in odds[up != kind]]) for one in odds[up == kind]]
        for kind in (True, False)
    ]
    variance = sum(np.var(of_kind, ddof=1) / len(of_kind) for of_kind in places)
    assert discrimination(odds, up, 0.4, range(30)).auc.standard_error == pytest.approx(variance**0.5)


def test_what_several_people_say_of_one_response_hangs_together():
    """Five thumbs of each of 60 responses: to take them for 300 would be to claim more than is known."""
    random = np.random.default_rng(0)
    responses = np.repeat(np.arange(60), 5)
    draws, claimed = [], []
    for _ in range(600):
        worth = random.normal(size=60)
        odds = (worth + 0.7 * random.normal(size=60))[responses]
        up = (3 * worth[responses] + random.logistic(size=300)) > 0
        draws.append(discrimination(odds, up, 0.5, responses.tolist()))
        claimed.append(discrimination(odds, up, 0.5, range(300)))
    for name in ("log_loss", "gain", "accuracy", "auc"):
        spread = np.std([getattr(one, name).value for one in draws])
        stated, alone = (np.mean([getattr(one, name).standard_error for one in some]) for some in (draws, claimed))
        assert stated == pytest.approx(spread, rel=0.1), name
        assert alone < 0.75 * spread, name


def test_of_a_single_group_nothing_says_how_far_off_it_is():
    found = discrimination([1.0, 2.0, -1.0, 0.5], [True, True, False, False], 0.5, ["one"] * 4)
    assert (found.auc.value, found.auc.standard_error, found.gain.standard_error) == (1.0, None, None)


def test_the_base_rate_is_not_beaten_by_scores_that_know_nothing():
    random = np.random.default_rng(0)
    up = random.random(2000) < 0.3
    assert discrimination(random.normal(size=2000), up, 0.3, range(2000)).gain.value < 0
    constant = np.full(2000, math.log(0.3 / 0.7))
    assert discrimination(constant, up, 0.3, range(2000)).gain.value == pytest.approx(0, abs=1e-12)
