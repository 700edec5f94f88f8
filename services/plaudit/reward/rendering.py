"""From prompt and response to the token ids a reward model reads: one function, used in training and in serving.

    plain   [BOS] prompt separator response [EOS]
    chat    the tokenizer's chat template over the messages, nothing added

Prompt and response are tokenised as one text, so the ids are those of `tokenizer(prompt + separator + response)` and of
`apply_chat_template`. What belongs to the prompt is decided only when something must be cut: it is the longest common
prefix of the ids with and without the response; a token that straddles the border, as an unknown word may, counts as
response. Cutting removes the head of the prompt, never a leading BOS and never a token of the response.

A response that was cut at the token limit (`finish_reason == "length"`) gets no EOS and no end-of-turn marker: the
model must not read a full stop that the policy never wrote. Whatever a template writes after its end-of-turn marker,
such as a newline, stays. Text is never normalised.
"""

import hashlib
import json
import re
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
OPENED_THOUGHT = re.compile(r"<think>\s*\Z")
"""What some templates end a generation prompt with, and leave out of a finished turn."""
EMPTY_THOUGHT = re.compile(r"\s*<think>\s*</think>")
"""What some templates write before a response that has none."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Rendering:
    """How text becomes ids. Written beside the weights, so that training and serving cannot drift apart."""

    kind: Literal["plain", "chat"] = "plain"
    max_tokens: Annotated[int, Field(gt=0)] = 1024  # the longest input the model reads
    truncation: Literal["error", "left_prompt"] = "error"  # longer ones: refused, or the prompt's head is cut
    bos: bool = True  # plain: begin with BOS (BERT: CLS) where the tokenizer has one
    eos: bool = True  # plain: end a finished response with EOS (BERT: SEP) where the tokenizer has one
    separator: str = ""  # plain: between prompt and response; may be a special token's text, such as "[SEP]"


class Span(NamedTuple):
    """A token of the response."""

    position: int  # in `input_ids`
    begin: int | None  # its characters in the response, as UTF-8 bytes; None where ids were sent
    end: int | None


class Rendered(NamedTuple):
    """What the model reads."""

    input_ids: list[int]  # at most `max_tokens`
    truncated_tokens: int  # prompt tokens that were cut
    response: tuple[Span, ...] = ()  # where `spans` were asked for


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
    *,
    spans: bool = False,
) -> Rendered:
    """Renders `prompt` and `response`, or `messages` whose last one is the response.

    `finish_reason` is "stop", "length" or None (as "stop"). With `spans`, which need a fast tokenizer, also tells the
    tokens that hold a character of the response. Raises InputTooLong, InvalidItem or TemplateFailed, the last one with
    `spans` also where the template changes the response, so that its tokens have no place in it.
    """
    finished = finish_reason != "length"
    full, head, said = _texts(tokenizer, rendering, prompt, response, messages, finished)
    read, offsets = tokenize_with_offsets(tokenizer, full) if spans else (tokenize(tokenizer, full), ())
    ids = with_special_tokens(tokenizer, rendering, read, finished)
    fitted = _fitted(tokenizer, rendering, ids, full, head)
    if not spans:
        return fitted
    before = int(ids[:1] != read[:1])  # the BOS that was put in front
    return fitted._replace(response=spans_of(offsets, full, head, said, shift=before - fitted.truncated_tokens))


def render_tokens(
    tokenizer: "PreTrainedTokenizerBase",
    rendering: Rendering,
    prompt_ids: Sequence[int],
    response_ids: Sequence[int],
    *,
    spans: bool = False,
) -> Rendered:
    """Ids rendered by the caller are read as they are; only a prompt that is too long is cut. Raises InputTooLong.

    With `spans`, says which of them are the response's.
    """
    ids = [*prompt_ids, *response_ids]
    bos = min(leading_bos(tokenizer, ids), len(prompt_ids))
    fitted = truncate(rendering, ids, bos, len(prompt_ids) - bos)
    if not spans:
        return fitted
    first = len(fitted.input_ids) - len(response_ids)
    return fitted._replace(response=tuple(Span(at, None, None) for at in range(first, len(fitted.input_ids))))


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


def _texts(
    tokenizer: "PreTrainedTokenizerBase",
    rendering: Rendering,
    prompt: str | None,
    response: str | None,
    messages: Sequence[MessageLike] | None,
    finished: bool,
) -> tuple[str, str, str]:
    """What is tokenised as one, the part of it before the response, and the response."""
    if rendering.kind == "chat":
        turns = check_turns(messages) if messages is not None else _as_turns(prompt, response)
        return *chat_texts(tokenizer, turns, finished), turns[-1].content
    if messages is not None:
        prompt, response = transcript(messages)
    head = (prompt or "") + rendering.separator
    return head + (response or ""), head, response or ""


def spans_of(offsets: Sequence[tuple[int, int]], full: str, head: str, said: str, shift: int) -> tuple[Span, ...]:
    """The tokens that hold a character of `said`, which stands in `full` behind `head`; one that straddles is cut."""
    whole = _place(full, head, said) is not None
    kept = said if whole else said.strip()  # templates may drop the white space around it
    if not kept:
        return ()
    begin = _place(full, head, kept)
    if begin is None:
        raise TemplateFailed("the chat template changes the response, so its tokens cannot be told apart")
    end, start = begin + len(kept), begin - said.find(kept)  # `start`: where all of `said` would begin

    def in_bytes(at: int) -> int:
        return len(said[: min(max(at, begin), end) - start].encode("utf-8", "surrogatepass"))

    return tuple(
        Span(at + shift, in_bytes(first), in_bytes(last))
        for at, (first, last) in enumerate(offsets)
        if first < end and last > begin
    )


def _place(full: str, head: str, kept: str) -> int | None:
    """Where it begins in `full`: behind `head`, with nothing between but white space or an empty thought; else None."""
    bare = OPENED_THOUGHT.sub("", head)
    starts = [len(text) for text in (head, bare) if full.startswith(text)]
    if starts and (thought := EMPTY_THOUGHT.match(full, len(bare))):
        starts.insert(0, thought.end())
    found = [(start, full.find(kept, start)) for start in starts]
    return next((at for start, at in found if at >= 0 and not full[start:at].strip()), None)


def _fitted(
    tokenizer: "PreTrainedTokenizerBase", rendering: Rendering, ids: list[int], full: str, head: str
) -> Rendered:
    """The ids, cut where they must be."""
    if len(ids) <= rendering.max_tokens:
        return Rendered(ids, 0)
    return truncate(rendering, ids, leading_bos(tokenizer, ids), prompt_tokens(tokenizer, full, head))


def _as_turns(prompt: str | None, response: str | None) -> list[Turn]:
    return [Turn("user", prompt or ""), Turn("assistant", response or "")]


def chat_texts(tokenizer: "PreTrainedTokenizerBase", turns: list[Turn], finished: bool) -> tuple[str, str]:
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


def tokenize(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])


def tokenize_with_offsets(
    tokenizer: "PreTrainedTokenizerBase", text: str
) -> tuple[list[int], Sequence[tuple[int, int]]]:
    """The ids and the characters of each. Needs a fast tokenizer."""
    encoded = tokenizer(text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
    return list(encoded["input_ids"]), encoded["offset_mapping"]


def with_special_tokens(
    tokenizer: "PreTrainedTokenizerBase", rendering: Rendering, ids: list[int], finished: bool
) -> list[int]:
    """Plain: BOS before and EOS behind, neither ever twice: a caller's text may hold them already."""
    if rendering.kind == "chat":
        return ids
    bos, eos = bos_id(tokenizer), eos_id(tokenizer)
    if rendering.bos and bos is not None and ids[:1] != [bos]:
        ids = [bos, *ids]
    if rendering.eos and finished and eos is not None and ids[-1:] != [eos]:
        ids = [*ids, eos]
    return ids


def leading_bos(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> int:
    """1 when the ids begin with BOS, else 0."""
    return int(len(ids) > 0 and ids[0] == bos_id(tokenizer))


def prompt_tokens(tokenizer: "PreTrainedTokenizerBase", full: str, head: str) -> int:
    """How many tokens of `full`, behind a leading BOS, hold nothing but prompt.

    Ids alone do not tell: the prompt's last word and what the response makes of it may both be unknown words. Offsets
    alone do not either: byte-level tokenizers leave white space out of them.
    """
    ids = tokenize(tokenizer, full)
    alone = _alike(ids, tokenize(tokenizer, head))
    if tokenizer.is_fast:
        border = _alike(full, head)  # a template may write more for generation than in a whole turn
        _, offsets = tokenize_with_offsets(tokenizer, full)
        alone = min(alone, sum(1 for _ in takewhile(lambda offset: offset[1] <= border, offsets)))
    return alone - leading_bos(tokenizer, ids)


def _alike(one: Sequence[object], other: Sequence[object]) -> int:
    """How long their common prefix is."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def truncate(rendering: Rendering, ids: list[int], bos: int, prompt: int) -> Rendered:
    """Cuts behind the `bos` leading tokens, out of the `prompt` tokens that follow them, where there are too many."""
    cut = len(ids) - rendering.max_tokens
    if cut <= 0:
        return Rendered(ids, 0)
    if rendering.truncation == "error" or cut > prompt:
        raise InputTooLong(len(ids), rendering.max_tokens)
    return Rendered(ids[:bos] + ids[bos + cut :], cut)


def _sha256(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
