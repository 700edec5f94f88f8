"""slime's remote_rm: one sample a call, and the reply is the reward."""

import pytest

from .asking import forward, ids_of


def test_a_prompt_of_text_or_of_messages_is_rendered_here(ask):
    """The bytes that its aiohttp sends; the reply is a bare number."""
    body = b'{"prompt": "What does a ticket cost?", "response": " 12 euros.", "label": "12"}'
    items = {"items": [{"text": {"prompt": "What does a ticket cost?", "response": " 12 euros."}}]}
    expected = ask("/v1/models/quality:score", items)["results"][0]["score"]["rawScore"]
    assert ask("/slime", body) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    messages = [{"role": "user", "content": "What does a ticket cost?"}]
    turns = [*messages, {"role": "assistant", "content": " 12 euros."}]
    told = ask("/v1/models/quality:score", {"items": [{"conversation": {"messages": turns}}]})
    said = ask("/slime", {"prompt": messages, "response": " 12 euros.", "label": None})
    assert said == pytest.approx(told["results"][0]["score"]["rawScore"], rel=1e-5, abs=1e-5)


def test_a_prompt_that_the_policy_has_rendered_is_read_as_it_stands(ask, folders):
    prompt, response = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n", " 12 euros.<|im_end|>"
    found = ask("/slime/rendered", {"prompt": prompt, "response": response, "label": None})
    expected = forward(folders["quality"], ids_of(folders["quality"], prompt + response))
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_failure_is_no_number(ask):
    error = ask.refused("/slime", {"prompt": "too long " * 200, "response": "a"}, 400)
    assert error["reason"] == "INPUT_TOO_LONG"


@pytest.mark.parametrize(
    "body", [{}, {"prompt": "a"}, {"response": "a"}, {"prompt": 3, "response": "a"}, {"prompt": [3], "response": "a"}]
)
@pytest.mark.parametrize("path", ["/slime", "/slime/rendered"])
def test_what_is_no_sample_is_refused(ask, path, body):
    assert ask.refused(path, body, 400)["reason"] == "INVALID_REQUEST"
