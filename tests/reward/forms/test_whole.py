"""A text that its caller has rendered is read as it stands, and scores what a plain forward of its ids does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.reward.errors import InputTooLong
from plaudit.reward.rendering import Rendering
from plaudit.reward.whole import Cut, render_whole

from ..tiny_models import decoder_tokenizer, encoder_tokenizer
from .asking import forward, ids_of

PIECES = ["<s>", "</s>", "<|im_start|>", "<|im_end|>\n", "<pad>", "[SEP]", " a ticket", " 12", "\n", "日本", " café"]
PARTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8)
TEXTS = st.lists(PARTS.map(lambda parts: "".join([*parts, " a"])), min_size=1, max_size=6)
MODELS = ["quality", "chat", "padded", "encoder"]
AROUND = {"quality": ("<s>", "</s>"), "padded": ("<s>", "</s>"), "chat": ("<s>", ""), "encoder": ("[CLS]", "[SEP]")}


@pytest.fixture(scope="module")
def tokenizer():
    return decoder_tokenizer()


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=15, deadline=None)
@given(texts=TEXTS)
def test_as_it_stands_it_scores_what_a_plain_forward_of_its_ids_does(ask_of_session, folders, model: str, texts):
    rows = [ids_of(folders[model], text) for text in texts]
    body = {"model": model, "input": texts, "add_special_tokens": False, "use_activation": False}
    found = [one["probs"][0] for one in ask_of_session("/classify", body)["data"]]
    assert found == pytest.approx([forward(folders[model], row) for row in rows], rel=1e-5, abs=1e-5)
    body = {"model": model, "input": rows}
    assert [one["data"][0] for one in ask_of_session("/pooling", body)["data"]] == pytest.approx(
        found, rel=1e-5, abs=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", ["a ticket costs 12", "{first}a ticket{last}", "{first}a ticket", "{last}", "a{last}"])
def test_what_the_model_was_trained_with_is_added_around_it_and_never_twice(ask, folders, model: str, text: str):
    """A chat template ends the turn itself, so there it is BOS alone that a client may have taken away."""
    first, last = AROUND[model]
    text = text.format(first=first, last=last) or "a"
    whole = (first if not text.startswith(first) else "") + text
    whole += last if not whole.endswith(last) else ""
    (one,) = ask("/classify", {"model": model, "input": text})["data"]
    assert one["probs"] == [pytest.approx(forward(folders[model], ids_of(folders[model], whole)), rel=1e-5, abs=1e-5)]


def test_a_rendering_without_bos_and_eos_adds_neither(tokenizer):
    bare = Rendering(bos=False, eos=False)
    plain = tokenizer("a ticket", add_special_tokens=False)["input_ids"]
    assert render_whole(tokenizer, bare, "a ticket", finished=True).input_ids == plain
    with_eos = render_whole(tokenizer, Rendering(bos=False), "a ticket", finished=True).input_ids
    assert with_eos == [*plain, tokenizer.eos_token_id]
    assert render_whole(tokenizer, Rendering(bos=False), "a ticket", finished=False).input_ids == plain


def test_a_template_without_bos_gets_none(tokenizer):
    tokenizer = decoder_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.removeprefix("{{ bos_token }}")
    ids = render_whole(tokenizer, Rendering(kind="chat"), "a ticket", finished=True).input_ids
    assert ids == tokenizer("a ticket", add_special_tokens=False)["input_ids"]


def test_what_is_too_long_is_refused_or_loses_its_head(tokenizer):
    ids = tokenizer("<s>" + "a b c d e f g h", add_special_tokens=False)["input_ids"]
    with pytest.raises(InputTooLong):
        render_whole(tokenizer, Rendering(max_tokens=5), ids)
    cut = render_whole(tokenizer, Rendering(max_tokens=5, truncation="left_prompt"), ids)
    assert cut.input_ids == [ids[0], *ids[-4:]]  # BOS stays
    assert cut.truncated_tokens == len(ids) - 5


def test_no_token_behind_the_border_is_cut(tokenizer):
    text, border = "<s>" + "a b c d e f g h i j", len("<s>" + "a b c")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    prompt = len(tokenizer(text[:border], add_special_tokens=False)["input_ids"])
    keep = len(ids) - prompt + 1
    left = Rendering(max_tokens=keep, truncation="left_prompt")
    assert render_whole(tokenizer, left, text, border).input_ids == [ids[0], *ids[prompt:]]
    assert render_whole(tokenizer, left, ids, prompt).input_ids == [ids[0], *ids[prompt:]]
    shorter = Rendering(max_tokens=keep - 1, truncation="left_prompt")
    for whole, at in ((text, border), (ids, prompt)):
        with pytest.raises(InputTooLong):
            render_whole(tokenizer, shorter, whole, at)
        assert render_whole(tokenizer, shorter, whole).truncated_tokens  # nobody knows the border: all may go


@pytest.mark.parametrize("policy", ["error", "left_prompt"])
def test_a_caller_may_ask_to_be_cut_on_either_side(tokenizer, policy):
    ids = tokenizer("<s>" + "a b c d e f g h", add_special_tokens=False)["input_ids"]
    rendering = Rendering(max_tokens=6, truncation=policy)
    assert render_whole(tokenizer, rendering, ids, cut=Cut(3)).input_ids == [ids[0], *ids[-2:]]
    assert render_whole(tokenizer, rendering, ids, cut=Cut(1)).input_ids == ids[:1]
    assert render_whole(tokenizer, rendering, ids, cut=Cut(3, "right")).input_ids == ids[:3]
    assert render_whole(tokenizer, rendering, ids, cut=Cut(side="right")).input_ids == ids[:6]
    assert render_whole(tokenizer, rendering, ids, cut=Cut(100)).input_ids == [ids[0], *ids[-5:]]
    assert render_whole(tokenizer, rendering, ids[:2], cut=Cut(3)).truncated_tokens == 0


@pytest.mark.parametrize("make", [decoder_tokenizer, encoder_tokenizer])
@pytest.mark.parametrize("finished", [None, True])
def test_the_tokens_of_the_response_are_told(make, finished):
    tokenizer = make()
    text, border = "what does a ticket cost: 12 euros", len("what does a ticket cost:")
    found = render_whole(tokenizer, Rendering(), text, border, finished, spans=True)
    said = text[border:].encode()
    assert b"".join(said[span.begin : span.end] for span in found.response).replace(b" ", b"") == b"12euros"
    read = [tokenizer.decode([found.input_ids[span.position]]).strip() for span in found.response]
    assert "".join(read).replace("##", "") == "12euros"
    kept = render_whole(tokenizer, Rendering(), text, border, finished, Cut(8, "right"), spans=True)
    assert all(span.position < 8 for span in kept.response)
