"""The text world: what it says is what it recognises; the same seed gives the same world; no split sees another."""

import random
from itertools import combinations

import pytest
from forms import Form
from phrases import CLOSERS, EVASIONS, INTENTS, OPENERS, OPENERS_ABOUT, SLOTS
from world import Sizes, draw_question, draw_splits, forms, read_question, sentences

SIZES = Sizes(demonstrations=400, preferences=100, judged=100, practice=100, held_out=200)


def replies() -> list[str]:
    """Every text from which the sentences of replies are drawn."""
    answers = [text for intent in INTENTS.values() for text in (*intent.figured, *intent.vague)]
    about = [text for texts in OPENERS_ABOUT.values() for text in texts]
    return [*OPENERS, *about, *answers, *EVASIONS, *CLOSERS]


def test_form_draws_what_it_recognises():
    form = Form("(The|Your) {product} (will|should( really|)) arrive in {days} days", SLOTS)
    rng = random.Random(0)
    drawn = {form.draw(rng, {"product": "lamp"}) for _ in range(200)}
    assert len(drawn) > 50
    assert all((form.match(sentence) or {})["product"] == "lamp" for sentence in drawn)


@pytest.mark.parametrize(
    "sentence",
    [
        "The lamp will arrive in 3 days.",
        "The lamp will arrive in days",
        "The lamp lamp will arrive in 3 days",
        "The lamp will arrive in 99 days",  # beyond the slot's range
        "The lamp will arrive in 03 days",
        "the lamp will arrive in 3 days",
        "The dragon will arrive in 3 days",
    ],
)
def test_form_refuses(sentence):
    assert Form("(The|Your) {product} will arrive in {days} days", SLOTS).match(sentence) is None


def test_form_refuses_a_slot_named_twice():
    with pytest.raises(ValueError, match="slot named twice"):
        Form("{city} to {city}", SLOTS)


@pytest.mark.parametrize("text", replies())
def test_a_sentence_has_one_reading(text):
    """No sentence is of two forms, so the utility never has to guess."""
    rng = random.Random(text)
    for _ in range(20):
        sentence = forms(text)[0].draw(rng)
        assert [other for other in replies() if forms(other)[0].match(sentence) is not None] == [text]


def test_questions_are_understood():
    rng = random.Random(1)
    for _ in range(1_000):
        question = draw_question(rng)
        assert read_question(question.prompt) == question


@pytest.mark.parametrize("text", ["", "Hello.", "What is love?\n", "What is the price of a dragon?\n"])
def test_other_texts_are_no_questions(text):
    with pytest.raises(ValueError, match="not a question of this world"):
        read_question(text)


def test_every_intent_has_a_word_of_its_own():
    """The customer's word comes back in every answer: what a small model can learn to look for."""
    for word, intent in INTENTS.items():
        for text in (*intent.questions, *intent.figured, *intent.vague):
            drawn = forms(text)[0].draw(random.Random(0))
            about_it = word in drawn or " it " in f" {drawn.rstrip('.?')} " or drawn.startswith("It ")
            assert about_it, (word, drawn)


def test_same_seed_same_world():
    assert draw_splits(3, SIZES) == draw_splits(3, SIZES)
    assert draw_splits(3, SIZES) != draw_splits(4, SIZES)


def test_splits_are_disjoint():
    splits = draw_splits(0, SIZES)
    texts = [{d.question.text for d in splits.demonstrations}, *({q.text for q in split} for split in splits[1:])]
    assert [len(split) for split in texts] == list(SIZES)
    assert all(not one & other for one, other in combinations(texts, 2))


def test_there_is_variety():
    splits = draw_splits(0, Sizes())
    assert len(splits.held_out) >= 200
    assert len({question.intent for question in splits.held_out}) == len(INTENTS)
    assert len({d.reply for d in splits.demonstrations}) > 0.6 * len(splits.demonstrations)


def test_sentences_are_cut_at_white_space_only():
    assert sentences(" One. Two! Three") == ["One.", "Two!", "Three"]
    assert sentences("One.Two") == ["One.Two"]
    assert sentences("") == []
