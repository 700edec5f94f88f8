"""A task as it is shown: who said what, code apart from prose, and a warning of what nobody can see."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from plaudit.feedback.fields import fields_of, names_of
from plaudit.feedback.records import Asked
from plaudit.feedback.tasks import Kind
from plaudit.trajectory import Message
from plaudit.visible import unseen, visible

FENCE = re.compile(r"^ {0,3}```[^\n`]*\n(.*?)(?:^ {0,3}```[ \t]*$\n?|\Z)", re.MULTILINE | re.DOTALL)
"""Code, as Markdown has it; to the end where it is not closed."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Part:
    """Of a text."""

    text: str
    code: bool


@dataclass(frozen=True, slots=True)
class Said:
    """By somebody, to be read."""

    name: str
    parts: tuple[Part, ...]
    unseen: int = 0  # characters without any width


@dataclass(frozen=True, slots=True)
class Shown:
    """One task on a screen."""

    assignment: int
    kind: Kind
    conversation: tuple[Said, ...]
    answers: tuple[Said, ...]
    fields: dict[str, str]  # all of the form's; empty ones were not touched
    instructions: str  # its own
    again: bool  # it was judged, and that was taken back


def shown(asked: Asked) -> Shown:
    """With the answers in this person's order."""
    prompt = asked.task.prompt
    turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    answers = [asked.task.answers[at].text for at in asked.shown]
    return Shown(
        asked.assignment,
        asked.task.kind,
        tuple(_said(turn.role, turn.content) for turn in turns),
        tuple(_said(_name(place, len(answers)), text) for place, text in enumerate(answers)),
        dict.fromkeys(names_of(asked.task), "") | fields_of(asked),
        visible(asked.task.instructions),
        asked.before is not None,
    )


def _name(place: int, count: int) -> str:
    if count == 1:
        return "Answer"
    return LETTERS[place] if place < len(LETTERS) else str(place + 1)


def _said(name: str, text: str) -> Said:
    return Said(name, tuple(_parts(visible(text))), unseen(text))


def _parts(text: str) -> Iterator[Part]:
    at = 0
    for block in FENCE.finditer(text):
        if prose := text[at : block.start()].strip("\n"):
            yield Part(prose, code=False)
        yield Part(block[1], code=True)
        at = block.end()
    if prose := text[at:].strip("\n"):
        yield Part(prose, code=False)
