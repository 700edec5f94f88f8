"""vLLM's pooling server, as scripts and verl ask it."""

import base64
import math
import struct

import pytest

from .asking import forward, ids_of
from .conftest import PATH_OF_THEIRS

TEXT = "<s><|im_start|>user\nWhat does a ticket cost?<|im_end|>\n<|im_start|>assistant\n 12 euros.<|im_end|>\n"
CHAT = [{"role": "user", "content": "What does a ticket cost?"}, {"role": "assistant", "content": " 12 euros."}]


def close(value: float):
    return pytest.approx(value, rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def raw(folders) -> float:
    """The logit of TEXT."""
    return forward(folders["chat"], ids_of(folders["chat"], TEXT))


@pytest.mark.parametrize(
    "said", [b'"use_activation": false', b'"activation": false', b'"softmax": false', b'"use_activation": null']
)
def test_what_verl_sends_gives_it_the_logit(ask, raw, said: bytes):
    """verl 0.9.1, and older ones: BOS has been taken away, because vLLM adds it."""
    text = TEXT.removeprefix("<s>").replace("\n", "\\n").encode()
    reply = ask("/classify", b'{"model": "chat", "input": "' + text + b'", ' + said + b"}")
    assert reply["data"][-1]["probs"][-1] == close(raw)


def test_verl_names_a_model_by_its_path_and_the_settings_say_which_that_is(ask, folders):
    reply = ask("/classify", {"model": PATH_OF_THEIRS, "input": "a", "use_activation": False})
    assert reply["model"] == "quality"
    assert reply["data"][0]["probs"] == [close(forward(folders["quality"], ids_of(folders["quality"], "<s>a</s>")))]
    error = ask.refused("/classify", {"model": str(folders["quality"]), "input": "a"}, 404)
    assert error["type"] == error["error"]["type"] == "NotFoundError"


def test_a_reply_has_what_vllms_has(ask, folders):
    reply = ask("/classify", {"model": "chat", "input": ["a ticket", "12"]})
    assert set(reply) == {"id", "object", "created", "model", "data", "usage"}
    assert reply["id"].startswith("classify-")
    assert reply["object"] == "list"
    assert [set(one) for one in reply["data"]] == [{"index", "label", "probs", "num_classes"}] * 2
    assert [one["index"] for one in reply["data"]] == [0, 1]
    tokens = sum(len(ids_of(folders["chat"], f"<s>{text}")) for text in ("a ticket", "12"))
    assert reply["usage"] == {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }


@pytest.mark.parametrize("key", ["use_activation", "activation", "softmax"])
def test_a_sigmoid_is_for_who_asks_for_it(ask, raw, key: str):
    (one,) = ask("/classify", {"model": "chat", "input": TEXT, key: True})["data"]
    assert one["probs"] == [close(1 / (1 + math.exp(-raw)))]
    (silent,) = ask("/classify", {"model": "chat", "input": TEXT})["data"]
    assert silent["probs"] == [close(raw)]
    assert silent["probs"] != [1.0]  # the softmax of one label


def test_messages_are_one_text_by_the_models_own_template(ask, raw):
    (one,) = ask("/classify", {"model": "chat", "messages": CHAT})["data"]
    assert one["probs"] == [close(raw)]
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in CHAT]
    assert ask("/classify", {"model": "chat", "messages": parts})["data"] == [one]


def test_a_message_that_goes_on_has_no_end_of_turn(ask, folders):
    body = {"model": "chat", "messages": CHAT, "continue_final_message": True}
    (one,) = ask("/classify", body)["data"]
    open_ended = TEXT.removesuffix("<|im_end|>\n")
    assert one["probs"] == [close(forward(folders["chat"], ids_of(folders["chat"], open_ended)))]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"chat_template": "{{ messages }}"}, "chat_template"),
        ({"chat_template": ""}, "chat_template"),
        ({"chat_template_kwargs": {"system": "x"}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"add_generation_prompt": True}}, "chat_template_kwargs"),
        ({"add_generation_prompt": True}, "add_generation_prompt"),
        ({"messages": [{"role": "user", "content": "a"}]}, "conversation.messages"),
        ({"messages": [{"role": "tool", "content": "a"}, CHAT[1]]}, "conversation.messages.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, CHAT[1]]}, "messages.content"),
        ({"truncate_prompt_tokens": 3}, "truncate_prompt_tokens"),
    ],
)
def test_templates_and_what_is_no_conversation_are_refused(ask, more, key):
    error = ask.refused("/classify", {"model": "chat", "messages": CHAT, **more}, 400)
    assert key in error["message"]
    assert error["type"] == error["error"]["type"] == "BadRequestError"


def test_template_arguments_that_change_nothing_pass(ask, raw):
    body = {"model": "chat", "messages": CHAT, "chat_template_kwargs": {"add_generation_prompt": False}}
    assert ask("/classify", body)["data"][0]["probs"] == [close(raw)]


@pytest.mark.parametrize(
    "input", [None, [], [[]], 3, {"a": 1}, ["a", None], [1, "a"], [-1], [1 << 40], [True], [[1], "a", [[1]]], [1.5]]
)
def test_what_is_no_input_is_refused(ask, input):
    assert "input" in ask.refused("/classify", {"model": "chat", "input": input}, 400)["message"]


def test_an_empty_text_is_refused_where_it_has_no_token_at_all(ask, folders):
    body = {"model": "chat", "input": "", "add_special_tokens": False}
    assert "no token" in ask.refused("/classify", body, 400)["message"]
    (one,) = ask("/classify", {"model": "chat", "input": ""})["data"]
    assert one["probs"] == [close(forward(folders["chat"], ids_of(folders["chat"], "<s>")))]


def test_ids_are_taken_as_they_are_one_row_or_several(ask, folders):
    row = ids_of(folders["chat"], TEXT)
    (one,) = ask("/classify", {"model": "chat", "input": row})["data"]
    assert one["probs"] == [close(forward(folders["chat"], row))]
    both = ask("/classify", {"model": "chat", "input": [row, row[:5]]})["data"]
    assert both[1]["probs"] == [close(forward(folders["chat"], row[:5]))]
    assert "tokens" in ask.refused("/classify", {"model": "chat", "input": [9999]}, 400)["message"]


def test_truncate_prompt_tokens_keeps_the_last_ones_or_the_first(ask, folders):
    ids = ids_of(folders["chat"], "<s>" + "a b c d e f g h i j")
    body = {"model": "chat", "input": "a b c d e f g h i j", "truncate_prompt_tokens": 6}
    found = {
        side: ask("/classify", {**body, "truncation_side": side})["data"][0]["probs"] for side in ("left", "right")
    }
    assert found == {
        "left": [close(forward(folders["chat"], [ids[0], *ids[-5:]]))],
        "right": [close(forward(folders["chat"], ids[:6]))],
    }
    for wrong in (0, -2, "6", True):
        assert "truncate_prompt_tokens" in str(ask.refused("/classify", {**body, "truncate_prompt_tokens": wrong}, 400))


def test_minus_one_cuts_to_what_the_model_reads_and_the_reply_says_so(ask, server):
    long = {"model": "chat", "input": "a " * 200}
    assert "INPUT" not in ask.refused("/classify", long, 400)["type"]
    before = server.metric("plaudit_reward_truncated_total")
    reply = ask.post("/classify", {**long, "truncate_prompt_tokens": -1})
    assert reply.json()["usage"]["prompt_tokens"] == 64
    assert int(reply.headers["plaudit-truncated-tokens"]) > 100
    assert reply.headers["plaudit-model"].startswith("models/chat/versions/")
    assert server.metric("plaudit_reward_truncated_total") == before + 1


def test_pooling_gives_floats_or_base64(ask, raw):
    body = {"model": "chat", "input": TEXT, "task": "classify"}
    (one,) = ask("/pooling", body)["data"]
    assert (one["object"], one["data"]) == ("pooling", [close(raw)])
    (packed,) = ask("/pooling", {**body, "encoding_format": "base64", "endianness": "little"})["data"]
    assert struct.unpack("<f", base64.b64decode(packed["data"])) == (close(raw),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", "embed"),
        ("task", ["classify"]),
        ("encoding_format", "bytes"),
        ("embed_dtype", "float16"),
        ("dimensions", 8),
    ],
)
def test_pooling_refuses_what_is_no_score(ask, key, value):
    assert key in ask.refused("/pooling", {"model": "chat", "input": "a", key: value}, 400)["message"]


def test_a_model_that_scores_tokens_gives_each_its_row(ask):
    """A process reward model's steps come out of /pooling."""
    text = "a ticket costs 12"
    body = {"model": "steps", "input": text, "add_special_tokens": False}
    (silent,) = ask("/pooling", body)["data"]
    (asked,) = ask("/pooling", {**body, "task": "token_classify"})["data"]
    assert silent == asked
    native = {"items": [{"text": {"prompt": "", "response": text}}]}
    (same,) = ask("/v1/models/steps:scoreTokens", native)["results"]
    reads_bos = [[close(token["score"])] for token in same["scores"]["tokens"]]
    assert len(asked["data"]) == len(reads_bos)
    (around,) = ask("/pooling", {**body, "add_special_tokens": True})["data"]
    assert around["data"] == reads_bos
    ask.refused("/pooling", {**body, "task": "classify"}, 400)
    ask.refused("/classify", {"model": "steps", "input": text}, 400)
    ask.refused("/pooling", {"model": "chat", "input": text, "task": "token_classify"}, 400)


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize(
    ("one", "other"), [("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2")]
)
def test_a_prompt_and_its_responses_are_scored_as_pairs(ask, path, one, other):
    pairs = [("What does a ticket cost?", " 12 euros."), ("What does a ticket cost?", " I can't say.")]
    native = {"items": [{"text": {"prompt": prompt, "response": response}} for prompt, response in pairs]}
    expected = [result["score"]["rawScore"] for result in ask("/v1/models/chat:score", native)["results"]]
    prompt, responses = pairs[0][0], [response for _, response in pairs]
    spread = ask(path, {"model": "chat", one: prompt, other: responses})["data"]
    each = ask(path, {"model": "chat", one: [prompt] * 2, other: [{"text": one} for one in responses]})["data"]
    single = ask(path, {"model": "chat", one: prompt, other: responses[0]})["data"]
    assert [row["score"] for row in spread] == [close(score) for score in expected]
    assert each == [{**row, "score": close(row["score"])} for row in spread]
    assert single == [{"index": 0, "object": "score", "score": close(expected[0])}]
    ask.refused(path, {"model": "chat", one: [prompt] * 3, other: responses}, 400)
    ask.refused(path, {"model": "chat", one: prompt}, 400)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_documents_come_back_best_first(ask, path):
    body = {"model": "digits", "query": "How many?", "documents": ["none", "1 2", {"text": "1"}]}
    reply = ask(path, body)
    assert [(one["index"], one["relevance_score"]) for one in reply["results"]] == [(1, 0.4), (2, 0.2), (0, -0.2)]
    assert [one["document"]["text"] for one in reply["results"]] == ["1 2", "1", "none"]
    assert len(ask(path, {**body, "top_n": 2})["results"]) == 2
    assert len(ask(path, {**body, "top_n": 0})["results"]) == 3
    assert ask(path, {**body, "use_activation": True})["results"][0]["relevance_score"] == close(
        1 / (1 + math.exp(-0.4))
    )
    ask.refused(path, {**body, "top_n": -1}, 400)
    ask.refused(path, {**body, "documents": []}, 400)
