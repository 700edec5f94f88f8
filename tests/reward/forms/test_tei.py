"""text-embeddings-inference: two strings are a pair, not two items."""

import math

import pytest

from .asking import forward, ids_of


def close(value: float):
    return pytest.approx(value, rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def scored(ask_of_session):
    def score(prompt: str, response: str) -> float:
        items = {"items": [{"text": {"prompt": prompt, "response": response}}]}
        return ask_of_session("/v1/models/quality:score", items)["results"][0]["score"]["rawScore"]

    return score


def test_one_a_pair_and_a_batch(ask, folders, scored):
    alone = close(forward(folders["quality"], ids_of(folders["quality"], "<s>a ticket</s>")))
    pair = close(scored("What does a ticket cost?", " 12 euros."))
    assert ask("/predict", {"inputs": "a ticket", "raw_scores": True}) == [{"score": alone, "label": "quality"}]
    assert ask("/predict", {"inputs": ["a ticket"], "raw_scores": True}) == [{"score": alone, "label": "quality"}]
    both = ["What does a ticket cost?", " 12 euros."]
    assert ask("/predict", {"inputs": both, "raw_scores": True}) == [{"score": pair, "label": "quality"}]
    batch = ask("/predict", {"inputs": [["a ticket"], both], "raw_scores": True})
    assert batch == [[{"score": alone, "label": "quality"}], [{"score": pair, "label": "quality"}]]


def test_raw_scores_false_is_a_sigmoid_and_nothing_said_is_none(ask, folders):
    raw = forward(folders["quality"], ids_of(folders["quality"], "<s>a ticket</s>"))
    assert ask("/predict", {"inputs": "a ticket", "raw_scores": False})[0]["score"] == close(1 / (1 + math.exp(-raw)))
    assert ask("/predict", {"inputs": "a ticket"})[0]["score"] == close(raw)


@pytest.mark.parametrize(
    ("direction", "kept"), [("Right", "first"), ("right", "first"), ("Left", "last"), (None, "first")]
)
def test_truncate_cuts_on_the_side_that_is_asked_for(ask, folders, direction, kept):
    ids = ids_of(folders["quality"], "<s>" + "a b " * 50 + "</s>")
    body = {"inputs": "a b " * 50, "truncate": True, "truncation_direction": direction, "raw_scores": True}
    expected = ids[:64] if kept == "first" else [ids[0], *ids[-63:]]
    assert ask("/predict", body)[0]["score"] == close(forward(folders["quality"], expected))
    error = ask.refused("/predict", {**body, "truncate": False}, 422)
    assert error["error_type"] == "Validation"


def test_texts_come_back_best_first(ask, scored):
    texts = [" 12 euros.", " I can't say.", ""]
    order = sorted(range(3), key=lambda at: -scored("What does a ticket cost?", texts[at]))
    body = {"query": "What does a ticket cost?", "texts": texts, "raw_scores": True}
    reply = ask("/rerank", body)
    assert [one["index"] for one in reply] == order
    assert [one["score"] for one in reply] == sorted((one["score"] for one in reply), reverse=True)
    assert all(set(one) == {"index", "score"} for one in reply)
    assert [one["text"] for one in ask("/rerank", {**body, "return_text": True})] == [texts[at] for at in order]


@pytest.mark.parametrize(
    "inputs", [None, [], "", [["a", "b", "c"]], [[]], ["a", "b", "c"], [["a"], "b"], [[1]], 3, {"a": 1}, [["a"], []]]
)
def test_what_is_no_input_is_refused_in_its_own_words(ask, inputs):
    if inputs == "":  # BOS and EOS alone: an empty text has a score like any other
        assert len(ask("/predict", {"inputs": inputs})) == 1
        return
    error = ask.refused("/predict", {"inputs": inputs}, 422)
    assert set(error) == {"error", "error_type"}


def test_where_rerank_is_asked_with_neither_key_both_are_named(ask):
    message = ask.refused("/rerank", {"query": "a"}, 400)["message"]
    assert "documents" in message
    assert "texts" in message
    assert ask.refused("/rerank", {"query": "a", "texts": []}, 422)["error_type"] == "Validation"
