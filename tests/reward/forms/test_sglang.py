"""SGLang's native and OpenAI-like endpoints."""

import base64
import math
import struct

import pytest

from .asking import forward, ids_of
from .conftest import PATH_OF_THEIRS

TEXT = "<|im_start|>user\nWhat does a ticket cost?<|im_end|>\n<|im_start|>assistant\n 12 euros.<|im_end|>\n"


def close(value: float):
    return pytest.approx(value, rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def raw(folders) -> float:
    return forward(folders["quality"], ids_of(folders["quality"], "<s>" + TEXT + "</s>"))


def test_one_text_gives_one_object_and_a_list_a_list(ask, raw, folders):
    one = ask("/classify", {"text": TEXT})
    assert one["embedding"] == [close(raw)]
    assert one["meta_info"]["prompt_tokens"] == len(ids_of(folders["quality"], "<s>" + TEXT + "</s>"))
    assert one["meta_info"]["e2e_latency"] > 0
    (alone,) = ask("/classify", {"text": [TEXT], "rid": "mine"})
    assert alone["embedding"] == [close(raw)]


def test_ids_are_scored_as_they_are(ask, folders):
    row = ids_of(folders["quality"], TEXT)
    expected = close(forward(folders["quality"], row))
    assert ask("/classify", {"input_ids": row})["embedding"] == [expected]
    assert [one["embedding"] for one in ask("/classify", {"input_ids": [row]})] == [[expected]]


def test_put_is_as_good_as_post(ask, raw):
    reply = ask._client.put("/classify", json={"text": TEXT})
    assert reply.json()["embedding"] == [close(raw)]


def test_what_verl_sends_to_it(ask, raw):
    body = b'{"model": "/data/models/Reward-8B", "input": "' + TEXT.replace("\n", "\\n").encode() + b'"}'
    assert PATH_OF_THEIRS.encode() in body
    reply = ask("/v1/embeddings", body)
    assert reply["data"][-1]["embedding"][-1] == close(raw)
    assert reply["object"] == "list"


def test_openais_client_asks_for_base64(ask, raw):
    body = {"model": "quality", "input": [TEXT, "a"], "encoding_format": "base64"}
    first, second = ask("/v1/embeddings", body)["data"]
    assert struct.unpack("<f", base64.b64decode(first["embedding"])) == (close(raw),)
    assert second["index"] == 1


def test_the_softmax_of_one_label_is_refused_and_the_reason_said(ask):
    """It would be 1 for every text."""
    error = ask.refused("/v1/classify", {"model": "quality", "input": TEXT}, 400)
    assert "softmax" in error["error"]
    assert (error["type"], error["code"]) == ("BadRequestError", 400)


@pytest.mark.parametrize("body", [{"text": []}, {"text": None, "input_ids": None}, {"text": 3}, {"input_ids": []}])
def test_what_is_no_text_is_refused_in_its_own_words(ask, body):
    assert set(ask.refused("/classify", body, 400)["error"]) == {"message"}


@pytest.mark.parametrize("body", [{}, {"text": "a", "input": "a"}, {"model": "quality"}])
def test_where_no_key_decides_the_keys_are_named(ask, body):
    message = ask.refused("/classify", body, 400)["message"]
    assert "input or messages" in message
    assert "text or input_ids" in message


def test_raw_scores_are_those_before_calibration(ask, raw):
    """The native form has both; these forms' clients expect the logit."""
    native = {"items": [{"text": {"prompt": "", "response": TEXT}}]}
    (result,) = ask("/v1/models/quality:score", native)["results"]
    assert result["score"]["rawScore"] == close(raw)
    assert result["score"]["score"] == close((raw - 0.5) / 2)
    assert not math.isclose(result["score"]["score"], raw)
