"""Simulated ratings: the stated mean is the mean of many, each rater has a bias of its own, thumbs follow worth."""

import random

import pytest
from raters import CONTENT, PANEL, STARS, expected_stars, rate, thumb
from utility import utility
from world import Question

PROMPT = Question("How long is the warranty on the lamp?", "warranty", "lamp").prompt
REPLIES = (
    "lamp lamp lamp",
    "No idea.",
    "The warranty is long.",
    "The warranty lasts 5 years.",
    "Thank you for asking. The lamp has a warranty of 5 years. Have a nice day.",
)


@pytest.mark.parametrize("reply", REPLIES)
def test_expected_stars_are_the_mean_of_many(reply):
    rng = random.Random(0)
    drawn = [rate(PROMPT, reply, rng)[1] for _ in range(20_000)]
    assert set(drawn) <= set(STARS)
    assert sum(drawn) / len(drawn) == pytest.approx(expected_stars(PROMPT, reply), abs=0.03)


def test_better_replies_get_more_stars():
    worth = [utility(PROMPT, reply) for reply in REPLIES]
    stars = [expected_stars(PROMPT, reply) for reply in REPLIES]
    assert worth == sorted(worth)
    assert stars == sorted(stars)
    assert stars[0] < 1.5
    assert stars[-1] > 4.5


def test_raters_differ_in_leniency():
    strict, careful, kind = (
        expected_stars(PROMPT, "The warranty is long.", [one for one in PANEL if one.name == name])
        for name in ("strict", "careful", "kind")
    )
    assert strict < careful - 0.4 < kind - 0.8


def test_half_of_all_thumbs_are_up_where_customers_are_content():
    rng = random.Random(0)
    for reply in REPLIES:
        share = sum(thumb(PROMPT, reply, rng) == 1 for _ in range(4_000)) / 4_000
        worth = utility(PROMPT, reply)
        assert (share > 0.5) == (worth > CONTENT)
        assert share < 0.03 or share > 0.97 or abs(worth - CONTENT) < 2
