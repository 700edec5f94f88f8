from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from plaudit.errors import ConfigurationError
from plaudit.reward.errors import InputTooLong, InvalidItem, TemplateFailed
from plaudit.reward.rendering import (
    Rendering,
    Turn,
    check,
    render,
    render_tokens,
    rendering_digest,
    tokenizer_digest,
    transcript,
)

from .tiny_models import decoder_tokenizer, encoder_tokenizer

LLAMA = decoder_tokenizer()
render_spans = partial(render, spans=True)
BERT = encoder_tokenizer()
PLAIN = Rendering()
CHAT = Rendering(kind="chat")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def ids(text: str) -> list[int]:
    return LLAMA(text, add_special_tokens=False)["input_ids"]


def test_plain_is_the_tokenizer_s_own_reading_of_the_joined_text_between_bos_and_eos():
    rendering = Rendering(separator="\n")
    assert render(LLAMA, rendering, "When?", " At 9.").input_ids == [
        LLAMA.bos_token_id,
        *ids("When?\n At 9."),
        LLAMA.eos_token_id,
    ]


def test_a_response_cut_at_the_limit_gets_no_eos():
    assert render(LLAMA, PLAIN, "When?", " At", finish_reason="length").input_ids == [1, *ids("When? At")]


def test_bos_and_eos_in_the_text_are_not_doubled():
    assert render(LLAMA, PLAIN, "<s>When?", " At 9.</s>") == render(LLAMA, PLAIN, "When?", " At 9.")


def test_bert_gets_cls_and_sep_and_may_have_sep_between():
    rendered = render(BERT, Rendering(separator="[SEP]"), "When", "At 9").input_ids
    words = BERT("When[SEP]At 9", add_special_tokens=False)["input_ids"]
    assert rendered == [BERT.cls_token_id, *words, BERT.sep_token_id]
    assert rendered.count(BERT.sep_token_id) == 2


@given(TEXTS, TEXTS)
def test_chat_is_the_template_s_own_ids(prompt: str, response: str):
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    expected = LLAMA.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert render(LLAMA, CHAT, prompt, response).input_ids == list(expected)


def test_text_and_the_same_conversation_render_alike():
    messages = [Turn("user", "When?"), Turn("assistant", "At 9.")]
    assert render(LLAMA, CHAT, messages=messages) == render(LLAMA, CHAT, "When?", "At 9.")


@pytest.mark.parametrize("response", ["At 9", "", " At\n"])
def test_chat_without_an_end_of_turn_after_a_cut_response(response: str):
    rendered = render(LLAMA, CHAT, "When?", response, finish_reason="length").input_ids
    assert LLAMA.decode(rendered) == f"<s><|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\n{response}"


def test_a_plain_model_reads_a_conversation_as_an_hh_transcript():
    messages = [Turn("system", "Be kind."), Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "When?")]
    prompt, response = transcript([*messages, Turn("assistant", "At 9.")])
    assert prompt == "Be kind.\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: When?\n\nAssistant: "
    rendered = render(LLAMA, PLAIN, messages=[*messages, Turn("assistant", "At 9.")])
    assert rendered == render(LLAMA, PLAIN, prompt.rstrip(), " At 9.")
    assert response == "At 9."


@pytest.mark.parametrize("messages", [[], [Turn("user", "Hi")], [Turn("tool", "x"), Turn("assistant", "y")]])
def test_malformed_conversations_are_refused(messages: list[Turn]):
    for rendering in (PLAIN, CHAT):
        with pytest.raises(InvalidItem):
            render(LLAMA, rendering, messages=messages)


def test_too_long_is_an_error_unless_the_policy_cuts():
    with pytest.raises(InputTooLong) as caught:
        render(LLAMA, Rendering(max_tokens=5), "When do you open on Monday?", " At 9.")
    assert caught.value.tokens > caught.value.limit == 5


@given(TEXTS, TEXTS, st.sampled_from(["plain", "chat"]), st.integers(1, 60), st.sampled_from(["stop", "length"]))
def test_cutting_takes_the_prompt_s_head_only(prompt: str, response: str, kind: str, limit: int, finish: str):
    whole = render(LLAMA, Rendering(kind=kind, max_tokens=10_000), prompt, response, finish_reason=finish).input_ids
    rendering = Rendering(kind=kind, max_tokens=limit, truncation="left_prompt")
    try:
        kept, cut, _ = render(LLAMA, rendering, prompt, response, finish_reason=finish)
    except InputTooLong:
        assert len(whole) > limit
        return
    assert cut == max(0, len(whole) - limit)
    assert kept == [whole[0], *whole[1 + cut :]]
    if cut:
        behind_response = "" if finish == "length" else "<|im_end|>\n" if kind == "chat" else "</s>"
        assert LLAMA.decode(kept).endswith(response + behind_response)


@pytest.mark.parametrize("reader", [render, render_spans])
def test_an_unknown_word_that_the_response_goes_on_with_is_never_cut(reader):
    before, joined = ("a ticket zzξ", "ψ cost"), "a ticket zzξψ cost"
    words = BERT(joined, add_special_tokens=False)["input_ids"]
    assert words[:-1] == BERT(before[0], add_special_tokens=False)["input_ids"]  # [UNK] with and without the response
    tight = Rendering(max_tokens=4, truncation="left_prompt")
    assert reader(BERT, tight, *before)[:2] == ([BERT.cls_token_id, *words[-2:], BERT.sep_token_id], len(words) - 2)
    with pytest.raises(InputTooLong):
        reader(BERT, Rendering(max_tokens=3, truncation="left_prompt"), *before)


def test_a_token_that_ends_the_prompt_and_begins_the_response_is_never_cut():
    tokenizer = decoder_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)  # offsets without white space
    tokenizer.add_tokens("?\n\n")
    whole = render(tokenizer, PLAIN, "Is it?", "\n\nNo.").input_ids
    rest = whole[whole.index(len(tokenizer) - 1) :]
    tight = Rendering(max_tokens=1 + len(rest), truncation="left_prompt")
    assert render(tokenizer, tight, "Is it?", "\n\nNo.").input_ids == [1, *rest]
    with pytest.raises(InputTooLong):
        render(tokenizer, Rendering(max_tokens=len(rest), truncation="left_prompt"), "Is it?", "\n\nNo.")


def test_token_ids_are_read_as_they_are_and_cut_like_text():
    assert render_tokens(LLAMA, PLAIN, [1, 7, 8], [9, 2]) == ([1, 7, 8, 9, 2], 0, ())
    rendering = Rendering(max_tokens=3, truncation="left_prompt")
    spans = ((1, None, None), (2, None, None))
    assert render_tokens(LLAMA, rendering, [1, 7, 8], [9, 2], spans=True) == ([1, 9, 2], 2, spans)
    with pytest.raises(InputTooLong):
        render_tokens(LLAMA, rendering, [1, 7], [8, 9, 2])


def test_a_template_that_refuses_is_a_domain_error():
    tokenizer = decoder_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(TemplateFailed):
        render(tokenizer, CHAT, "a", "b")


def test_chat_needs_a_template():
    with pytest.raises(ConfigurationError, match="chat template"):
        check(BERT, CHAT)


def test_digests_survive_a_save_and_see_what_matters(tmp_path):
    LLAMA.save_pretrained(tmp_path)
    loaded = type(LLAMA).from_pretrained(tmp_path)
    loaded(["a", "b c d"], padding=True)  # leaves padding switched on inside the tokenizer
    assert tokenizer_digest(loaded) == tokenizer_digest(LLAMA)
    assert rendering_digest(LLAMA, PLAIN) != rendering_digest(LLAMA, Rendering(max_tokens=7))
    before = rendering_digest(loaded, CHAT)
    loaded.chat_template += " "
    assert rendering_digest(loaded, CHAT) != before
    assert tokenizer_digest(BERT) != tokenizer_digest(LLAMA)


@given(TEXTS, TEXTS, st.sampled_from(["plain", "chat"]), st.integers(1, 60), st.sampled_from(["stop", "length"]))
def test_spans_are_the_response_token_by_token(prompt: str, response: str, kind: str, limit: int, finish: str):
    rendering = Rendering(kind=kind, max_tokens=limit, truncation="left_prompt")
    try:
        plain = render(LLAMA, rendering, prompt, response, finish_reason=finish)
    except InputTooLong:
        with pytest.raises(InputTooLong):
            render_spans(LLAMA, rendering, prompt, response, finish_reason=finish)
        return
    found = render_spans(LLAMA, rendering, prompt, response, finish_reason=finish)
    assert found[:2] == plain[:2]
    said = response.encode()
    covered = {byte for span in found.response for byte in range(span.begin, span.end)}
    assert covered == set(range(len(said)))  # a character that is several tokens is covered by each of them
    assert [span.position for span in found.response] == sorted({span.position for span in found.response})
    assert {LLAMA.eos_token_id, LLAMA.bos_token_id}.isdisjoint(plain.input_ids[s.position] for s in found.response)


def test_spans_count_bytes_and_keep_what_ends_a_step():
    said = "No café. 日本 cost"
    found = render_spans(BERT, PLAIN, "Is it?", said)
    (at, begin, end) = found.response[-1]
    assert (BERT.convert_ids_to_tokens(found.input_ids[at]), said.encode()[begin:end]) == ("cost", b"cost")
    assert begin == len("No café. 日本 ".encode())
    step = render_spans(LLAMA, PLAIN, "Is it?", "No.\n\n")
    assert step.response[-1].end == 5


def test_a_template_that_rewrites_the_response_is_an_error_and_one_that_strips_it_is_none():
    stripped, shouted = decoder_tokenizer(), decoder_tokenizer()
    stripped.chat_template = stripped.chat_template.replace("message.content", "message.content | trim")
    shouted.chat_template = shouted.chat_template.replace("message.content", "message.content | upper")
    (first, *_, last) = render_spans(stripped, CHAT, "Hi", "  no \n").response
    assert (first.begin, last.end) == (2, 4)
    for said in ("no", "im"):  # the end-of-turn marker holds the other one
        with pytest.raises(TemplateFailed):
            render_spans(shouted, CHAT, "Hi", said)


@pytest.mark.parametrize("said", ["", "\n", " \n "])
def test_a_response_that_the_template_leaves_nothing_of_has_no_tokens(said: str):
    tokenizer = decoder_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("message.content", "message.content | trim")
    assert render_spans(tokenizer, CHAT, "Hi", said).response == ()


@pytest.mark.parametrize("said", ["No, it is not.", "think", "<think>", "\n\nNo."])
@pytest.mark.parametrize(
    ("asking", "answering"),
    [("<think>\n", ""), ("", "<think>\n\n</think>\n\n"), ("<think>\n", "<think>\n\n</think>\n\n")],
)
def test_a_thought_that_the_template_writes_is_not_the_response(asking: str, answering: str, said: str):
    tokenizer = decoder_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{{ message.content }}",
        f"{{% if message.role == 'assistant' %}}{answering}{{% endif %}}{{{{ message.content }}}}",
    ).replace("<|im_start|>assistant\n{% endif %}", f"<|im_start|>assistant\n{asking}{{% endif %}}")
    found = render_spans(tokenizer, CHAT, "Hi", said)
    read = tokenizer.decode([found.input_ids[span.position] for span in found.response])
    assert tokenizer.decode(found.input_ids[found.response[-1].position + 1 :]) == "<|im_end|>\n"
    assert (read.strip(), found.response[0].begin, found.response[-1].end) == (said.strip(), 0, len(said))


def test_a_template_that_writes_something_else_before_the_response_is_an_error():
    tokenizer = decoder_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("{{ message.content }}", "[no] {{ message.content }}")
    with pytest.raises(TemplateFailed):
        render_spans(tokenizer, CHAT, "Hi", "no")
