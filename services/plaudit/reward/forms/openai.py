"""What vLLM and SGLang both have from OpenAI: texts or messages in, floats or base64 out, usage, errors."""

import base64
import struct
import time
import uuid
from collections.abc import Sequence

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms.form import Json, Told
from plaudit.reward.forms.problems import Problem
from plaudit.reward.forms.reading import (
    choice,
    conversation,
    flag,
    refuse_templates,
    string,
    texts_or_ids,
    turns,
    whole,
    whole_number,
)
from plaudit.reward.items import Item
from plaudit.reward.whole import Cut

TYPES = {400: "BadRequestError", 404: "NotFoundError", 413: "BadRequestError", 503: "ServiceUnavailableError"}


def items(body: Json) -> list[Item]:
    """Of `input`, around which special tokens are added unless that is declined, or of `messages`, which are one."""
    refuse_templates(body)
    if body.get("messages") is None:
        special = flag(body, "add_special_tokens") is not False
        limit = cut(body)
        return [whole(one, special_tokens=special, cut=limit) for one in texts_or_ids(body, "input")]
    no_cut(body)
    if flag(body, "add_generation_prompt"):
        raise InvalidRequest("add_generation_prompt", "the last message is the response: nothing is generated after it")
    finished = not flag(body, "continue_final_message")
    return [conversation(turns(body["messages"]), finished=finished)]


def cut(body: Json) -> Cut | None:
    """What the caller lets be cut: -1 is down to what the model reads."""
    tokens = whole_number(body, "truncate_prompt_tokens", -1)
    if tokens == 0:
        raise InvalidRequest("truncate_prompt_tokens", "must be -1, or at least 1")
    side = choice(body, "truncation_side", ("left", "right"))
    return None if tokens is None else Cut(None if tokens == -1 else tokens, "right" if side == "right" else "left")


def no_cut(body: Json) -> None:
    """A pair or a conversation is cut as the model's rendering says, and not otherwise. Raises InvalidRequest."""
    if (asked := cut(body)) is not None and asked.tokens is not None:
        raise InvalidRequest("truncate_prompt_tokens", "only a whole text is cut to a number of tokens (`input`)")


def head(told: Told, kind: str) -> dict[str, object]:
    """What a reply begins with."""
    created = int(time.time())
    return {"id": f"{kind}-{uuid.uuid4().hex}", "object": "list", "created": created, "model": told.card.name}


def usage(told: Told) -> dict[str, object]:
    """Nothing is generated, so all tokens are the prompt's."""
    total = sum(told.tokens)
    return {"prompt_tokens": total, "total_tokens": total, "completion_tokens": 0, "prompt_tokens_details": None}


def encoder(body: Json) -> str:
    """The encoding that is asked for. Raises InvalidRequest for what we do not have."""
    if string(body, "embed_dtype", "float32") != "float32" or string(body, "endianness", "native") == "big":
        raise InvalidRequest("embed_dtype", "only float32, little-endian")
    if body.get("dimensions") not in (None, 1):
        raise InvalidRequest("dimensions", "a score has one")
    return choice(body, "encoding_format", ("float", "base64"))


def encode(values: Sequence[float], encoding: str) -> object:
    """As JSON numbers, or as the base64 of float32."""
    if encoding == "float":
        return list(values)
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def error(problem: Problem) -> tuple[int, object]:
    """On the top level, where older clients look, and under `error`, where newer ones do."""
    kind = TYPES.get(problem.status, "InternalServerError" if problem.status >= 500 else "BadRequestError")
    found = {"message": problem.text, "type": kind, "param": problem.field, "code": problem.status}
    return problem.status, {"object": "error", **found, "error": found}
