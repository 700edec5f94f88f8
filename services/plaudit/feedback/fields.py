"""What stands in the form of a task, as a verdict on it, and the other way round. Places are those of the screen.

kind            fields
compare         choice: 0, 1 or tie
rank            rank-0, rank-1, ...: whole numbers, 1 is best, equal ones tie, gaps do not matter
thumbs          choice: up or down
rating          choice: 1 to 5
demonstration   text

A draft is the same fields, as far as somebody got, with `comment` and `flagged` beside them.
"""

from collections.abc import Mapping
from typing import Any

from plaudit.feedback.records import Asked
from plaudit.feedback.tasks import Demonstration, Kind, Ranks, Rating, Task, Thumb, Verdict, WrongVerdict

Fields = Mapping[str, str]

MOST_CHARACTERS = 200_000
"""Of one field: whoever writes more than that pasted by mistake."""
MISSING = {
    Kind.COMPARE: "choose one of the answers, or a tie",
    Kind.RANK: "put the answers in order first",
    Kind.THUMBS: "choose up or down",
    Kind.RATING: "choose 1 to 5",
    Kind.DEMONSTRATION: "write an answer first",
}


def verdict_of(asked: Asked, fields: Fields) -> Verdict:
    """Raises WrongVerdict, with words for who judges."""
    kind, choice = asked.task.kind, fields.get("choice", "")
    try:
        match kind:
            case Kind.COMPARE:
                return _in_order(asked, {"0": [1, 2], "1": [2, 1], "tie": [1, 1]}[choice])
            case Kind.RANK:
                return _in_order(asked, [int(fields[f"rank-{at}"]) for at in range(len(asked.shown))])
            case Kind.THUMBS:
                return Thumb({"up": True, "down": False}[choice])
            case Kind.RATING:
                return Rating(int(choice))
            case Kind.DEMONSTRATION:
                return Demonstration(fields["text"].replace("\r\n", "\n").strip())
    except (KeyError, ValueError):
        raise WrongVerdict(MISSING[kind]) from None


def names_of(task: Task) -> tuple[str, ...]:
    """Of the fields that its form has."""
    return ("choice", "text", "comment", "flagged", *(f"rank-{at}" for at in range(len(task.answers))))


def fields_of(asked: Asked) -> dict[str, str]:
    """What was said and taken back, and over it what was typed since."""
    typed = read_draft(asked.task, asked.draft) if isinstance(asked.draft, dict) else {}
    return _of_verdict(asked) | typed


def _of_verdict(asked: Asked) -> dict[str, str]:
    match asked.before:
        case Ranks(ranks) if asked.task.kind is Kind.COMPARE:
            first, second = (ranks[at] for at in asked.shown)
            return {"choice": "tie" if first == second else "0" if first < second else "1"}
        case Ranks(ranks):
            return {f"rank-{place}": str(ranks[at]) for place, at in enumerate(asked.shown)}
        case Thumb(up):
            return {"choice": "up" if up else "down"}
        case Rating(stars):
            return {"choice": str(stars)}
        case Demonstration(text):
            return {"text": text}
    return {}


def read_draft(task: Task, draft: Mapping[str, Any]) -> dict[str, str]:
    """Those of its fields that this task has."""
    given = ((name, draft.get(name)) for name in names_of(task))
    return {name: value.replace("\0", "")[:MOST_CHARACTERS] for name, value in given if isinstance(value, str)}


def _in_order(asked: Asked, places: list[int]) -> Ranks:
    """`places` of the screen's answers as ranks of the task's."""
    order = {place: rank for rank, place in enumerate(sorted(set(places)), start=1)}
    ranks = dict(zip(asked.shown, (order[place] for place in places), strict=True))
    return Ranks(tuple(ranks[at] for at in range(len(places))))
