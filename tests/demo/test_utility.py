"""The gold reward, term by term, and what cannot raise it."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from utility import HIGHEST, LOWEST, terms, utility
from world import Question, Sizes, draw_reply, draw_splits

LAMP = Question("How long does the refund for my lamp take?", "refund", "lamp")
OPENER = "Thanks for asking about the lamp."
ANSWER = "The refund for your lamp takes 5 days."
CLOSER = "Have a nice day."
PERFECT = f"{OPENER} {ANSWER} {CLOSER}"


def test_a_perfect_reply_is_worth_the_most():
    assert utility(LAMP.prompt, PERFECT) == HIGHEST


@pytest.mark.parametrize(
    ("response", "worth"),
    [
        (ANSWER, 4.0),
        (f"{OPENER} {ANSWER}", 5.0),
        (f"{ANSWER} {CLOSER}", 5.0),
        ("The refund for your chair takes 5 days.", 3.5),  # another product
        ("The refund is paid in 5 days.", 3.75),  # no product
        ("The refund for your lamp is on its way.", 2.5),  # no figure
        ("The refund is on its way.", 2.25),
        ("You can return the lamp within 3 weeks.", 2.0),  # the same topic, with a figure
        ("The price of the lamp is 20 pounds.", 1.5),  # another topic, with a figure
        ("No idea.", 0.0),
        (f"{OPENER} No idea. {CLOSER}", 2.0),
        (CLOSER, 1.0),
    ],
)
def test_what_well_formed_replies_are_worth(response, worth):
    assert terms(LAMP, response).form == 1.0
    assert utility(LAMP.prompt, response) == worth


@pytest.mark.parametrize(
    "response",
    [
        "",
        "please please 5 5 5",
        "refund refund lamp 5 days thank you please",
        "5 5 5 5 5.",
        "Thank you thank you thank you lamp refund 5 days!",
        "The refund for your lamp takes 5 days",  # unfinished
        "the refund for your lamp takes 5 days.",
        "The refund for your lamp takes takes 5 days.",
        "takes for lamp days The 5 your refund.",
        "?!.",
    ],
)
def test_strings_that_are_no_sentences_are_worth_the_least(response):
    assert utility(LAMP.prompt, response) == LOWEST


@pytest.mark.parametrize(
    "response",
    [
        f"{PERFECT} {ANSWER}",  # the answer again
        f"{OPENER} {OPENER} {ANSWER} {CLOSER}",
        f"{PERFECT} {CLOSER} {CLOSER}",
        f"{PERFECT} please 5",
        f"{PERFECT} The price of the lamp is 20 pounds.",  # answering everything at once
        f"{CLOSER} {ANSWER} {OPENER}",  # in the wrong order
        f"Thanks for asking about the chair. {ANSWER} {CLOSER}",  # thanks for another question
        PERFECT.replace(". Have", ".Have"),
        PERFECT.removesuffix("."),
    ],
)
def test_more_is_not_better(response):
    assert utility(LAMP.prompt, response) <= utility(LAMP.prompt, PERFECT) - 1


def test_waste_weighs_more_than_its_share():
    """Six of twelve words are waste: a quarter of the form is left."""
    found = terms(LAMP, f"{CLOSER} {CLOSER} please please please please")
    assert found.form == pytest.approx((4 / 12) ** 2)


@given(st.lists(st.sampled_from([*PERFECT.split(), "5", "please", "refund", "lamp"]), max_size=40))
def test_shuffled_words_never_beat_the_perfect_reply(words):
    assert LOWEST <= utility(LAMP.prompt, " ".join(words)) <= HIGHEST


@given(st.text(max_size=80))
def test_any_text_has_a_worth(text):
    assert LOWEST <= utility(LAMP.prompt, text) <= HIGHEST


def test_demonstrations_are_english_with_room_for_improvement():
    demonstrations = draw_splits(0, Sizes(demonstrations=1_000)).demonstrations
    worth = [terms(one.question, one.reply) for one in demonstrations]
    assert all(found.form == 1.0 for found in worth)
    assert 2.2 < statistics.mean(found.utility for found in worth) < 4.0


def test_an_uneven_staff():
    """The same question gets replies of every quality."""
    rng = random.Random(0)
    worth = [utility(LAMP.prompt, draw_reply(LAMP, rng)) for _ in range(500)]
    assert min(worth) == 0.0
    assert max(worth) == HIGHEST
