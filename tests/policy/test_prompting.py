"""One boundary between prompt and response, in training on demonstrations and in PPO."""

import pytest
from tokenizers.processors import TemplateProcessing

from plaudit.errors import ConfigurationError
from plaudit.policy.prompting import prompt_ids, response_ids
from plaudit.trajectory import Message
from tests.policy.tiny import tiny_tokenizer

CHAT = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "the {{ message.role }} {{ message.content }} {% endfor %}{% if add_generation_prompt %}the assistant{% endif %}"
)


def adding(tokenizer, template):
    """The tokenizer, made to add special tokens as many families do."""
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


@pytest.mark.parametrize(
    ("template", "front"), [("$A", []), ("<s> $A", [1]), ("<s> $A </s>", [1]), ("$A </s>", []), ("<s> <s> $A", [1, 1])]
)
def test_plain_prompts_keep_the_tokens_in_front_and_never_those_behind(template, front):
    bare = tiny_tokenizer()("the cat")["input_ids"]
    assert prompt_ids(adding(tiny_tokenizer(), template), "the cat", "plain") == front + bare


def test_a_bos_that_the_text_wrote_itself_is_not_doubled():
    tokenizer = adding(tiny_tokenizer(), "<s> $A")
    assert prompt_ids(tokenizer, "<s>the cat", "plain").count(1) == 1


def test_a_response_ends_once():
    tokenizer = adding(tiny_tokenizer(), "<s> $A </s>")
    bare = tiny_tokenizer()("sat on")["input_ids"]
    assert response_ids(tokenizer, "sat on") == [*bare, 2]
    assert response_ids(tokenizer, "sat on</s>") == [*bare, 2]
    assert response_ids(tokenizer, "") == [2]


def test_chat_prompts_end_where_the_answer_begins():
    tokenizer = adding(tiny_tokenizer(), "<s> $A </s>")
    tokenizer.chat_template = CHAT
    expected = tiny_tokenizer()("the user my order the assistant")["input_ids"]
    assert prompt_ids(tokenizer, "my order", "chat") == expected
    assert prompt_ids(tokenizer, (Message("user", "my order"),), "chat") == expected


def test_what_a_template_cannot_take_is_said():
    tokenizer = tiny_tokenizer()
    with pytest.raises(ConfigurationError, match="needs 'template: chat'"):
        prompt_ids(tokenizer, (Message("user", "Hi"),), "plain")
    with pytest.raises(ConfigurationError, match="has no chat template"):
        prompt_ids(tokenizer, "Hi", "chat")
    tokenizer.chat_template = CHAT
    with pytest.raises(ConfigurationError, match="no system"):
        prompt_ids(tokenizer, (Message("system", "Hi"),), "chat")
    tokenizer.eos_token = None
    with pytest.raises(ConfigurationError, match="no end-of-sequence token"):
        response_ids(tokenizer, "Hi")
