"""Simulated annotators: they choose as Bradley and Terry say, and nobody can agree with them more often than Bayes."""

import math
import random
from collections import Counter

import pytest
from annotators import PANEL, Annotator, Pair, bayes_accuracy, label, panel_preference, preference
from utility import utility
from world import Sizes, draw_reply, draw_splits

PROMPT = "How long does the refund for my lamp take?\n"
GOOD, FAIR = "The refund for your lamp takes 5 days.", "The refund is paid in 5 days."  # worth 4.0 and 3.75
LONG = "We will pay the refund for the lamp within 5 days."  # worth 4.0 as well, three words more


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    rng = random.Random(7)
    questions = draw_splits(0, Sizes(demonstrations=0, preferences=0, judged=6_000, practice=0, held_out=0)).judged
    return [Pair(question.prompt, draw_reply(question, rng), draw_reply(question, rng)) for question in questions]


def test_bradley_terry_by_hand():
    assert preference(Annotator("one", noise=0.5), Pair(PROMPT, GOOD, FAIR)) == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert preference(Annotator("one", noise=1e-3), Pair(PROMPT, GOOD, FAIR)) == pytest.approx(1.0)
    assert preference(Annotator("one", noise=1.0), Pair(PROMPT, GOOD, GOOD)) == 0.5


def test_the_bias_is_for_length():
    pair = Pair(PROMPT, LONG, GOOD)
    assert preference(Annotator("fair", noise=0.5), pair) == 0.5
    assert preference(Annotator("biased", noise=0.5, length_bias=0.1), pair) == pytest.approx(1 / (1 + math.exp(-0.6)))
    assert sum(annotator.length_bias > 0 for annotator in PANEL) == 1


@pytest.mark.parametrize("pair", [Pair(PROMPT, GOOD, FAIR), Pair(PROMPT, FAIR, GOOD), Pair(PROMPT, LONG, GOOD)])
def test_choices_have_the_stated_frequencies(pair):
    """Each annotator's, within four standard errors of a binomial; and each is asked equally often."""
    rng, n = random.Random(0), 20_000
    labels = [label(pair, rng) for _ in range(n)]
    asked = Counter(one.annotator for one in labels)
    firsts = Counter(one.annotator for one in labels if one.prefers_first)
    for annotator in PANEL:
        expected = preference(annotator, pair)
        error = math.sqrt(expected * (1 - expected) / asked[annotator.name])
        assert abs(firsts[annotator.name] / asked[annotator.name] - expected) < 4 * error + 1e-9
        assert abs(asked[annotator.name] - n / len(PANEL)) < 4 * math.sqrt(n * 0.25 * 0.75)


def test_bayes_accuracy_is_what_the_best_scorer_gets(pairs):
    """Simulated: the scorer that knows the panel against fresh labels, n = 6 000."""
    rng = random.Random(1)
    hits = [label(pair, rng).prefers_first == (panel_preference(pair) > 0.5) for pair in pairs]
    best = bayes_accuracy(pairs)
    assert abs(sum(hits) / len(hits) - best) < 3 * math.sqrt(best * (1 - best) / len(hits))


def test_nobody_beats_bayes(pairs):
    """Not even who knows the utility: one annotator's bias is not in it."""
    by_utility = [
        panel_preference(pair)
        if utility(pair.prompt, pair.first) > utility(pair.prompt, pair.second)
        else 1 - panel_preference(pair)
        for pair in pairs
    ]
    best = bayes_accuracy(pairs)
    assert sum(by_utility) / len(by_utility) < best
    assert 0.75 < best < 0.95


def test_rows_are_preference_data():
    first = label(Pair(PROMPT, GOOD, "No idea."), random.Random(0), (Annotator("sure", noise=0.01),)).as_row()
    assert first == {"prompt": PROMPT, "chosen": GOOD, "rejected": "No idea.", "annotator": "sure"}
