"""From a prompt to the token ids after which the policy writes: one function, for supervised fine-tuning and for PPO.

    plain   the text, behind the special tokens that the tokenizer puts before any text (BOS); nothing after it
    chat    the tokenizer's chat template over the messages (a text is one user message), up to where the answer begins

The response follows as ids of its own, tokenised without special tokens, and then the end-of-sequence token: so a
demonstration shows the policy exactly the boundary at which it will later continue.
"""

from collections.abc import Sequence
from typing import Literal

import jinja2
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.trajectory import Message

Template = Literal["plain", "chat"]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str | Sequence[Message], template: Template) -> list[int]:
    """The prompt as the policy reads it (P,). ConfigurationError when the template does not take this prompt."""
    if template == "chat":
        return _bare_ids(tokenizer, _chat_text(tokenizer, prompt))
    if not isinstance(prompt, str):
        raise ConfigurationError("a prompt that is a list of messages needs 'template: chat'")
    return with_leading_tokens(tokenizer, _bare_ids(tokenizer, prompt))


def response_ids(tokenizer: PreTrainedTokenizerBase, response: str) -> list[int]:
    """A finished response (T,): its own ids and the end-of-sequence token, never twice."""
    ids, eos = _bare_ids(tokenizer, response), tokenizer.eos_token_id
    if eos is None:
        raise ConfigurationError(
            "the tokenizer has no end-of-sequence token: set eos_token in its tokenizer_config.json"
        )
    return ids if ids[-1:] == [eos] else [*ids, eos]


def with_leading_tokens(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """`ids` behind the tokenizer's leading special tokens, unless the text wrote them itself."""
    leading = _leading_tokens(tokenizer)
    return ids if ids[: len(leading)] == leading else [*leading, *ids]


def _leading_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before any text: found by asking, since each family configures it in its own way."""
    probe = "a"
    bare, full = _bare_ids(tokenizer, probe), list(tokenizer(probe)["input_ids"])
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start]
    return []


def _chat_text(tokenizer: PreTrainedTokenizerBase, prompt: str | Sequence[Message]) -> str:
    if not tokenizer.chat_template:
        raise ConfigurationError("the tokenizer has no chat template: use 'template: plain'")
    turns = [Message("user", prompt)] if isinstance(prompt, str) else prompt
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except (jinja2.TemplateError, ValueError) as error:
        raise ConfigurationError(f"the chat template does not take these messages: {error}") from None


def _bare_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])
