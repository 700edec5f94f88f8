"""What the store hands out, and what it says where it cannot."""

from dataclasses import dataclass
from typing import Any

from plaudit.feedback.schema import Role
from plaudit.feedback.tasks import Task, Verdict


class NotYours(ValueError):
    """No such assignment of this person."""


class AlreadyJudged(ValueError):
    """By the same person, in another window; `undo` takes it back."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    id: int
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Asked:
    """A task on somebody's screen."""

    assignment: int
    task: Task
    shown: tuple[int, ...]  # the answers' positions in the task, in the order of the screen
    draft: Any = None
    before: Verdict | None = None  # that was taken back


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a person has come."""

    judged: int
    left: int  # tasks that want somebody and that this person was not asked; counted up to MOST_COUNTED


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do."""

    waiting: int  # judgements that tasks want and nobody is at
    open: int  # tasks that somebody is at


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one person said."""

    task: Task
    person: str
    verdict: Verdict
    shown: tuple[int, ...]
    comment: str
    flagged: bool
    seconds: float | None  # from when it was shown; None: it was said elsewhere
    created_at: float


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody said of a task beside judging it."""

    task: str  # its key
    person: str
    skipped: bool  # and not judged
    flagged: bool  # something is wrong with it
    comment: str
    at: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Questions whose answer was known before count in `known` alone: those are never done."""

    tasks: int
    wanted: int  # judgements
    given: int
    left: int  # that tasks still want: what is given beyond `wanted` fills no other task's place
    known: int  # tasks
    skipped: int
    flagged: int  # judgements, or skipped for that


@dataclass(frozen=True, slots=True)
class Activity:
    """Of one person."""

    name: str
    judged: int
    skipped: int
    flagged: int
