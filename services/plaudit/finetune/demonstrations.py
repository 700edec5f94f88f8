"""Demonstrations in every common shape, as one type.

{prompt, response} or {prompt, completion}    texts, or lists of messages
{instruction, input, output}                  as in Alpaca, self-instruct and Dolly; `input` may be empty or absent
{messages}                                    a conversation; its last message, by the assistant, is the response
{text}                                        no prompt: all of it is learnt
"""

from dataclasses import dataclass

from plaudit.rows import DataSettings, Row, read_rows
from plaudit.trajectory import Message

RESPONSE_FIELDS = ("response", "completion", "output")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A response that is worth imitating, and what it answers."""

    prompt: str | tuple[Message, ...] | None  # None: the response is a text by itself
    response: str
    where: str  # the row it comes from, for errors


def read_demonstrations(data: DataSettings) -> list[Demonstration]:
    """All demonstrations of the data; ConfigurationError names the first row that is none."""
    return [demonstration_of(row) for row in read_rows(data)]


def demonstration_of(row: Row) -> Demonstration:
    """The demonstration of one row."""
    if "messages" in row:
        *prompt, response = row.conversation("messages")
        if not prompt:
            raise row.error("messages", "is an answer without a question: add the user's message")
        return Demonstration(tuple(prompt), response.content, row.where)
    if "instruction" in row:
        context = row.text("input") if row.get("input") else ""
        prompt_text = row.text("instruction") + (f"\n\n{context}" if context else "")
        return Demonstration(prompt_text, row.text("output"), row.where)
    if "prompt" in row:
        return Demonstration(row.prompt(), _response(row), row.where)
    if "text" in row:
        return Demonstration(None, row.text("text"), row.where)
    raise row.error("prompt", f"is missing, and so are 'messages', 'instruction' and 'text' (found {', '.join(row)})")


def _response(row: Row) -> str:
    field = next((name for name in RESPONSE_FIELDS if row.get(name) is not None), RESPONSE_FIELDS[0])
    if not isinstance(row.get(field), list):
        return row.text(field)
    turns = row.conversation(field)
    if len(turns) > 1:
        raise row.error(field, f"has {len(turns)} messages: the response is one, put the earlier ones into 'prompt'")
    return turns[0].content
