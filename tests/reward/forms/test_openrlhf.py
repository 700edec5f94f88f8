"""OpenRLHF's remote reward model: `query` is a whole text with its special tokens inside."""

import pytest

from .asking import forward, ids_of

TEXT = "<s><|im_start|>user\nWhat does a ticket cost?<|im_end|>\n<|im_start|>assistant\n 12 euros.</s>"


def test_what_its_client_sends_is_scored_as_it_stands(ask, folders):
    """The bytes of OpenRLHF 0.11.2, whose aiohttp writes JSON with blanks."""
    body = (
        b'{"query": ["<s><|im_start|>user\\nWhat does a ticket cost?<|im_end|>\\n<|im_start|>assistant\\n 12 euros.'
        b'</s>"], "prompts": ["<|im_start|>user\\nWhat does a ticket cost?<|im_end|>\\n<|im_start|>assistant\\n"]'
        b', "labels": [null]}'
    )
    reply = ask("/get_reward", body)
    ids = ids_of(folders["quality"], TEXT)
    expected = forward(folders["quality"], ids)
    assert reply["rewards"] == reply["scores"] == [pytest.approx(expected, rel=1e-5, abs=1e-5)]
    assert reply["extra_logs"] == {"input_tokens": [len(ids)], "truncated_tokens": [0]}


def test_an_older_client_sends_the_query_alone(ask, folders):
    reply = ask("/get_reward", {"query": ["a ticket", TEXT]})
    expected = [forward(folders["quality"], ids_of(folders["quality"], text)) for text in ("a ticket", TEXT)]
    assert reply["rewards"] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_nothing_asked_is_nothing_answered(ask):
    """With more servers than queries an older client asks some of them for nothing."""
    reply = ask("/get_reward", {"query": [], "prompts": [], "labels": []})
    assert (reply["rewards"], reply["scores"]) == ([], [])


def test_unknown_keys_change_nothing(ask):
    plain = ask("/get_reward", {"query": [TEXT]})
    assert ask("/get_reward", {"query": [TEXT], "images": None, "version": 2, "labels": ["x"]}) == plain


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({}, "query"),
        ({"query": None}, "query"),
        ({"query": [1]}, "query"),
        ({"query": ["a", "b"], "prompts": ["a"]}, "prompts"),
        ({"query": ["a"], "prompts": [3]}, "prompts"),
    ],
)
def test_what_is_no_query_is_refused_by_name(ask, body, key):
    assert ask.refused("/get_reward", body, 400)["error"].startswith(f"{key}: ")


def test_one_item_that_cannot_be_scored_fails_the_call_and_is_named(ask):
    """There is no place for an error beside scores, and a 0 would be a lie."""
    reply = ask.refused("/get_reward", {"query": ["a", "too long " * 100]}, 400)
    assert reply["error"].startswith("item 1: the input has ")
    assert reply["reason"] == "INPUT_TOO_LONG"
