"""From prompt and response to the token ids a reward model reads: one function, used in training and in serving.

    plain   [BOS] prompt separator response [EOS]
    chat    the tokenizer's chat template over the messages, nothing added

Prompt and response are tokenised as one text, so the ids are those of `tokenizer(prompt + separator + response)` and of
`apply_chat_template`. What belongs to the prompt is decided only when something must be cut: it is the longest common
prefix of the ids with and without the response; a token that straddles the border counts as response. Cutting removes
the head of the prompt, never a leading BOS and never a token of the response.

A response that was cut at the token limit (`finish_reason == "length"`) gets no EOS and no end-of-turn marker: the
model must not read a full stop that the policy never wrote. Whatever a template writes after its end-of-turn marker,
such as a newline, stays. Text is never normalised.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol

import jinja2
from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError
from plaudit.reward.errors import InputTooLong, InvalidItem, TemplateFailed
from plaudit.settings import STRICT

if TYPE_CHECKING:  # settings name a Rendering, and settings are read before anything heavy is imported
    from transformers import PreTrainedTokenizerBase

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Rendering:
    """How text becomes ids. Written beside the weights, so that training and serving cannot drift apart."""

    kind: Literal["plain", "chat"] = "plain"
    max_tokens: Annotated[int, Field(gt=0)] = 1024  # the longest input the model reads
    truncation: Literal["error", "left_prompt"] = "error"  # longer ones: refused, or the prompt's head is cut
    bos: bool = True  # plain: begin with BOS (BERT: CLS) where the tokenizer has one
    eos: bool = True  # plain: end a finished response with EOS (BERT: SEP) where the tokenizer has one
    separator: str = ""  # plain: between prompt and response; may be a special token's text, such as "[SEP]"


class Rendered(NamedTuple):
    """What the model reads."""

    input_ids: list[int]  # at most `max_tokens`
    truncated_tokens: int  # prompt tokens that were cut


class MessageLike(Protocol):
    """One turn: the client's Message, the wire's Message, or any object of this form."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class Turn(NamedTuple):
    """The smallest MessageLike."""

    role: str
    content: str


def render(
    tokenizer: "PreTrainedTokenizerBase",
    rendering: Rendering,
    prompt: str | None = None,
    response: str | None = None,
    messages: Sequence[MessageLike] | None = None,
    finish_reason: str | None = None,
) -> Rendered:
    """Renders `prompt` and `response`, or `messages` whose last one is the response.

    `finish_reason` is "stop", "length" or None (as "stop"). Raises InputTooLong, InvalidItem or TemplateFailed.
    """
    finished = finish_reason != "length"
    if rendering.kind == "chat":
        turns = check_turns(messages) if messages is not None else _as_turns(prompt, response)
        full, head = _chat_texts(tokenizer, turns, finished)
        ids = _tokenize(tokenizer, full)
    else:
        if messages is not None:
            prompt, response = transcript(messages)
        head = (prompt or "") + rendering.separator
        ids = _with_special_tokens(tokenizer, rendering, _tokenize(tokenizer, head + (response or "")), finished)
    if len(ids) <= rendering.max_tokens:
        return Rendered(ids, 0)
    bos = _leading_bos(tokenizer, ids)
    return _truncate(rendering, ids, bos, _common_prefix(ids[bos:], _tokenize(tokenizer, head), tokenizer))


def render_tokens(
    tokenizer: "PreTrainedTokenizerBase", rendering: Rendering, prompt_ids: Sequence[int], response_ids: Sequence[int]
) -> Rendered:
    """Ids rendered by the caller are read as they are; only a prompt that is too long is cut. Raises InputTooLong."""
    ids = [*prompt_ids, *response_ids]
    if len(ids) <= rendering.max_tokens:
        return Rendered(ids, 0)
    bos = min(_leading_bos(tokenizer, ids), len(prompt_ids))
    return _truncate(rendering, ids, bos, len(prompt_ids) - bos)


def transcript(messages: Sequence[MessageLike]) -> tuple[str, str]:
    """A conversation as (prompt, response) in the form of hh-rlhf; a system message stands first, without a speaker."""
    names = {"system": "", "user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}
    *context, response = check_turns(messages)
    prompt = "".join(names[turn.role] + turn.content for turn in context)
    return prompt + names["assistant"], response.content


def check_turns(messages: Sequence[MessageLike]) -> list[Turn]:
    """The messages as turns, the last by the assistant; raises InvalidItem."""
    if not messages or messages[-1].role != "assistant":
        raise InvalidItem("conversation.messages", "the last message must be the assistant's response")
    for message in messages:
        if message.role not in ROLES:
            raise InvalidItem("conversation.messages.role", f"must be one of {', '.join(ROLES)}")
    return [Turn(message.role, message.content) for message in messages]


def check(tokenizer: "PreTrainedTokenizerBase", rendering: Rendering) -> None:
    """Raises ConfigurationError when this tokenizer cannot render so."""
    if rendering.kind == "chat" and not tokenizer.chat_template:
        raise ConfigurationError("the rendering is 'chat' but the tokenizer has no chat template: use kind: plain")


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 of what decides the ids: the tokenizer's rules and its special tokens."""
    rules: object = sorted(tokenizer.get_vocab().items())
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str()) | {"padding": None, "truncation": None}
    return _sha256({"rules": rules, "bos": bos_id(tokenizer), "eos": eos_id(tokenizer)})


def rendering_digest(tokenizer: "PreTrainedTokenizerBase", rendering: Rendering) -> str:
    """SHA-256 of the rendering, the tokenizer and, for chat, its template."""
    template = tokenizer.chat_template if rendering.kind == "chat" else None
    return _sha256({"rendering": asdict(rendering), "template": template, "tokenizer": tokenizer_digest(tokenizer)})


def bos_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """BOS, or CLS for BERT-like tokenizers."""
    found: int | None = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return found


def eos_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """EOS, or SEP for BERT-like tokenizers."""
    found: int | None = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    return found


def _as_turns(prompt: str | None, response: str | None) -> list[Turn]:
    return [Turn("user", prompt or ""), Turn("assistant", response or "")]


def _chat_texts(tokenizer: "PreTrainedTokenizerBase", turns: list[Turn], finished: bool) -> tuple[str, str]:
    """The whole conversation, and it up to where the response begins, as the template writes them."""
    messages = [turn._asdict() for turn in turns]
    try:
        head = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        if not finished and not turns[-1].content:
            return str(head), str(head)
        full = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=not finished)
    except (jinja2.TemplateError, ValueError) as error:
        raise TemplateFailed("the chat template does not take these messages (roles, order or content)") from error
    return str(full), str(head)


def _tokenize(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])


def _with_special_tokens(
    tokenizer: "PreTrainedTokenizerBase", rendering: Rendering, ids: list[int], finished: bool
) -> list[int]:
    """BOS before and EOS behind, neither ever twice: a caller's text may hold them already."""
    bos, eos = bos_id(tokenizer), eos_id(tokenizer)
    if rendering.bos and bos is not None and ids[:1] != [bos]:
        ids = [bos, *ids]
    if rendering.eos and finished and eos is not None and ids[-1:] != [eos]:
        ids = [*ids, eos]
    return ids


def _leading_bos(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> int:
    """1 when the ids begin with BOS, else 0."""
    return int(len(ids) > 0 and ids[0] == bos_id(tokenizer))


def _common_prefix(ids: Sequence[int], head: Sequence[int], tokenizer: "PreTrainedTokenizerBase") -> int:
    head = head[_leading_bos(tokenizer, head) :]
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, head, strict=False)))


def _truncate(rendering: Rendering, ids: list[int], bos: int, prompt: int) -> Rendered:
    """Cuts behind the `bos` leading tokens, out of the `prompt` tokens that follow them."""
    cut = len(ids) - rendering.max_tokens
    if rendering.truncation == "error" or cut > prompt:
        raise InputTooLong(len(ids), rendering.max_tokens)
    return Rendered(ids[:bos] + ids[bos + cut :], cut)


def _sha256(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
