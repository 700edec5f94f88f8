"""Reading a caller's JSON, key by key. What has the wrong type is an InvalidRequest that names the key, not its value.

Keys that nobody asks for are ignored: clients send more than a form needs, and newer ones more than older ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms.form import Json
from plaudit.reward.items import Conversation, Item, Text, Whole
from plaudit.reward.rendering import Turn
from plaudit.reward.whole import Cut

MOST_IDS_TEXT = "a string, a list of strings, a list of ids or a list of lists of ids"
HARMLESS: Mapping[str, object] = {"add_generation_prompt": False, "continue_final_message": False}
"""The template arguments that are let through: with these values, with which they change nothing."""


def parse(body: bytes) -> Json:
    """An object. Nesting is bounded, NaN, infinity and half surrogates are refused. Raises InvalidRequest."""
    try:
        tree = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise InvalidRequest("body", "is not JSON, or is nested too deeply") from None
    if not isinstance(tree, dict):
        raise InvalidRequest("body", "must be a JSON object")
    return tree


def string(body: Json, key: str, default: str | None = None) -> str:
    """Required unless there is a default, which null stands for too."""
    value = body.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InvalidRequest(key, "must be a string")
    return value


def flag(body: Json, *keys: str) -> bool | None:
    """The first of these keys that is there; None: not said."""
    for key in keys:
        value = body.get(key)
        if value is None:
            continue
        if not isinstance(value, bool):
            raise InvalidRequest(key, "must be true or false")
        return value
    return None


def whole_number(body: Json, key: str, least: int) -> int | None:
    """None: not said."""
    value = body.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise InvalidRequest(key, f"must be a whole number, at least {least}")
    return value


def choice(body: Json, key: str, known: Sequence[str]) -> str:
    """One of `known` in any case, of which the first is meant where nothing is said."""
    value = string(body, key, known[0]).lower()
    if value not in known:
        raise InvalidRequest(key, f"must be one of {', '.join(known)}")
    return value


def strings(body: Json, key: str) -> list[str]:
    """A list of them, which may be empty; one string counts as a list of one."""
    value = body.get(key)
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidRequest(key, "must be a list of strings")
    return value


def texts_or_ids(body: Json, key: str) -> list[str | list[int]]:
    """One text or several, one row of ids or several; at least one."""
    value = body.get(key)
    rows = [value] if isinstance(value, str) or _is_ids(value) else value
    if not isinstance(rows, list) or not all(isinstance(row, str) or _is_ids(row) for row in rows):
        raise InvalidRequest(key, f"must be {MOST_IDS_TEXT}")
    if not rows:
        raise InvalidRequest(key, "at least one is required")
    return rows


def is_single(value: object) -> bool:
    """One text, or one row of ids."""
    return isinstance(value, str) or _is_ids(value)


def turns(value: object, field: str = "messages") -> tuple[Turn, ...]:
    """Messages whose contents are strings, or lists of parts that are all text."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise InvalidRequest(field, "must be a list of messages")
    return tuple(Turn(string(one, "role"), _content(one.get("content"), field)) for one in value)


def refuse_templates(body: Json) -> None:
    """A chat template is a program, and the model's own rendering is what its scores mean. Raises InvalidRequest."""
    if body.get("chat_template") is not None:
        raise InvalidRequest("chat_template", "is not taken from callers: the model's own is used")
    arguments = body.get("chat_template_kwargs") or {}
    if not isinstance(arguments, dict):
        raise InvalidRequest("chat_template_kwargs", "must be an object")
    for key, value in arguments.items():
        if key not in HARMLESS or value is not HARMLESS[key]:
            raise InvalidRequest("chat_template_kwargs", "the model's own rendering is used, with no other arguments")


def whole(
    read: str | list[int], *, special_tokens: bool = False, border: int | None = None, cut: Cut | None = None
) -> Item:
    """An item that its caller has rendered."""
    return Item(Whole(read, border, special_tokens, cut), size=_size(read))


def pair(prompt: str, response: str) -> Item:
    """An item that the model's rendering makes of two texts."""
    return Item(Text(prompt, response), size=_size(prompt) + _size(response))


def conversation(messages: tuple[Turn, ...], *, finished: bool = True) -> Item:
    """An item whose last message is the response."""
    size = sum(_size(turn.content) for turn in messages)
    return Item(Conversation(messages), "stop" if finished else "length", size)


def _content(value: object, field: str) -> str:
    if isinstance(value, str):
        return value
    parts: list[Any] = value if isinstance(value, list) else [None]
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        raise InvalidRequest(f"{field}.content", "must be text")
    return "".join(string(part, "text") for part in parts)


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int and 0 <= one < 1 << 31 for one in value)


def _size(read: str | Sequence[int]) -> int:
    if isinstance(read, str):
        return len(read) if read.isascii() else len(read.encode())
    return 4 * len(read)
