"""Judgements out of Label Studio's JSON export.

    control tag     of a result: type, value                       becomes
    Pairwise        pairwise   {"selected": "left"}                a comparison of the two answers
    Ranker          ranker     {"ranker": {"rank": ["b", "a"]}}    a ranking of a List's items, by their ids
    Rating          rating     {"rating": 4}                       1 to 5 stars for the only answer
    Choices         choices    {"choices": ["good"]}               a thumb for the only answer: `up`, `down`
    TextArea        textarea   {"text": ["..."]}                   a demonstration

Which fields of a task's `data` hold prompt and answers is the labelling configuration's to say, and so the caller's; so
is which choices mean up and down. A field of answers may hold a List, [{"id": "a", "body": "..."}, ...]: each item is
one. An annotation that was cancelled says nothing; other choices and other control tags' results are passed over.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plaudit.errors import ConfigurationError
from plaudit.feedback.reading import Judged
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb, Verdict
from plaudit.rows import Row

SIDES = {"left": Ranks((1, 2)), "right": Ranks((2, 1))}
UP, DOWN = ("up", "good", "yes", "\N{THUMBS UP SIGN}"), ("down", "bad", "no", "\N{THUMBS DOWN SIGN}")
"""Choices, in whichever case."""
TEXTS = ("body", "html", "title")
"""Of a List's item, what is read first."""

Answers = dict[str, str]
"""By the item's id, or the name of the field, in their order."""


def read_label_studio(
    path: Path, *, prompt: str, answers: Sequence[str], up: Collection[str] = UP, down: Collection[str] = DOWN
) -> Iterator[Judged]:
    """`prompt` and `answers` name fields of `data`. ConfigurationError names the first task that lacks one."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"label_studio {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"label_studio {path}: no JSON export of Label Studio ({error})") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ConfigurationError(f"{path}: a JSON export of Label Studio is a list of tasks")
    thumbs = {choice.casefold(): Thumb(choice in up) for choice in (*up, *down)}
    for place, task in enumerate(tasks, start=1):
        yield from _judged(Row(task, f"{path.name}: task {place}"), prompt, answers, thumbs)


def _judged(task: Row, prompt: str, fields: Sequence[str], thumbs: Mapping[str, Thumb]) -> Iterator[Judged]:
    data = Row(task.require("data", dict), f"{task.where}: data")
    asked = data.text(prompt)
    answers: Answers = {}
    for field in fields:
        answers |= _items(data, field) if isinstance(data.get(field), list) else {field: data.text(field)}
    for annotation in task.get("annotations") or []:
        if not annotation.get("was_cancelled"):
            for result in annotation.get("result") or []:
                if (found := _verdict(task, result, answers, thumbs)) is not None:
                    kind, verdict = found
                    own = [] if kind is Kind.DEMONSTRATION else list(answers.values())
                    made = _task(task, f"label-studio/{task.get('id')}/{kind}", kind, asked, own)
                    yield Judged(made, _person(annotation.get("completed_by")), verdict)


def _items(data: Row, field: str) -> Answers:
    """Of a List."""
    found: Answers = {}
    for place, item in enumerate(data[field]):
        if not isinstance(item, dict) or item.get("id") is None:
            raise data.error(f"{field}[{place}]", "is no item of a List: it has no 'id'")
        read = Row(item, f"{data.where}: {field}[{place}]")
        found[str(item["id"])] = read.text(next((name for name in TEXTS if item.get(name)), TEXTS[0]))
    return found


def _verdict(
    task: Row, result: dict[str, Any], answers: Answers, thumbs: Mapping[str, Thumb]
) -> tuple[Kind, Verdict] | None:
    value = result.get("value") or {}
    match result.get("type"):
        case "pairwise":
            if value.get("selected") not in SIDES:
                raise task.error("selected", "is neither 'left' nor 'right'")
            return Kind.COMPARE, SIDES[value["selected"]]
        case "ranker":
            return Kind.COMPARE if len(answers) == 2 else Kind.RANK, _ranks(task, value.get("ranker"), answers)
        case "rating":
            if value.get("rating") not in (1, 2, 3, 4, 5):
                raise task.error("rating", "is none of 1, 2, 3, 4, 5")
            return Kind.RATING, Rating(value["rating"])
        case "choices" if len(answers) == 1:  # else it is said of something else
            said = {thumbs[one.casefold()] for one in value.get("choices") or [] if one.casefold() in thumbs}
            return (Kind.THUMBS, said.pop()) if len(said) == 1 else None
        case "textarea":
            text = value.get("text") or []
            if written := text if isinstance(text, str) else "\n".join(text):
                return Kind.DEMONSTRATION, Demonstration(written)
    return None


def _ranks(task: Row, ranker: Any, answers: Answers) -> Ranks:
    """Of {"rank": ids, the best first}: its one key is the tag's name. Of several, Buckets, nobody knows the best."""
    orders = list(ranker.values()) if isinstance(ranker, dict) else []
    if len(orders) != 1 or sorted(map(str, orders[0])) != sorted(answers):
        raise task.error("ranker", f"does not put all answers in one order ({', '.join(answers)})")
    place = {str(answer): at for at, answer in enumerate(orders[0], start=1)}
    return Ranks(tuple(place[answer] for answer in answers))


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
