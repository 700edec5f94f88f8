"""Judgements out of Label Studio's JSON export.

    control tag     of a result: type, value                       becomes
    Pairwise        pairwise   {"selected": "left"}                a comparison of the two answers
    Rating          rating     {"rating": 4}                       1 to 5 stars for the only answer
    TextArea        textarea   {"text": ["..."]}                   a demonstration

Which fields of a task's `data` hold prompt and answers is the labelling configuration's to say, and so the caller's. An
annotation that was cancelled says nothing; results of other control tags are passed over.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plaudit.errors import ConfigurationError
from plaudit.feedback.reading import Judged
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Verdict
from plaudit.rows import Row

SIDES = {"left": Ranks((1, 2)), "right": Ranks((2, 1))}


def read_label_studio(path: Path, *, prompt: str, answers: Sequence[str]) -> Iterator[Judged]:
    """`prompt` and `answers` name fields of `data`. ConfigurationError names the first task that lacks one."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: no JSON export of Label Studio ({error})") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ConfigurationError(f"{path}: a JSON export of Label Studio is a list of tasks")
    for place, task in enumerate(tasks, start=1):
        yield from _judged(Row(task, f"{path.name}: task {place}"), prompt, answers)


def _judged(task: Row, prompt: str, answers: Sequence[str]) -> Iterator[Judged]:
    data = Row(task.require("data", dict), f"{task.where}: data")
    asked, texts = data.text(prompt), [data.text(name) for name in answers]
    for annotation in task.get("annotations") or []:
        if not annotation.get("was_cancelled"):
            for result in annotation.get("result") or []:
                if (found := _verdict(task, result)) is not None:
                    kind, verdict = found
                    own = [] if kind is Kind.DEMONSTRATION else texts
                    made = _task(task, f"label-studio/{task.get('id')}/{kind}", kind, asked, own)
                    yield Judged(made, _person(annotation.get("completed_by")), verdict)


def _verdict(task: Row, result: dict[str, Any]) -> tuple[Kind, Verdict] | None:
    value = result.get("value") or {}
    match result.get("type"):
        case "pairwise":
            if value.get("selected") not in SIDES:
                raise task.error("selected", "is neither 'left' nor 'right'")
            return Kind.COMPARE, SIDES[value["selected"]]
        case "rating":
            if value.get("rating") not in (1, 2, 3, 4, 5):
                raise task.error("rating", "is none of 1, 2, 3, 4, 5")
            return Kind.RATING, Rating(value["rating"])
        case "textarea":
            text = value.get("text") or []
            if written := text if isinstance(text, str) else "\n".join(text):
                return Kind.DEMONSTRATION, Demonstration(written)
    return None


def _task(task: Row, key: str, kind: Kind, prompt: str, texts: list[str]) -> Task:
    try:
        return Task(key, kind, prompt, tuple(map(Answer, texts)))
    except ValueError as error:
        raise task.error("data", f"does not fit: {error}") from None


def _person(completed_by: Any) -> str:
    """An account's number, or what the export says of it."""
    if isinstance(completed_by, dict):
        return str(completed_by.get("email") or completed_by.get("id"))
    return f"label-studio/{completed_by}"
