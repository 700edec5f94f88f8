"""Places at tasks, and who is at them: the statements by which two people never have one.

A task's `held` counts its places that are taken, and changes in one statement with its condition. Whoever changes an
assignment locks it first, and changes `held` after: no place is given back twice, or taken for nothing.
"""

from typing import Any, TypeVar

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from plaudit.feedback.records import AlreadyJudged, NotYours, Person
from plaudit.feedback.schema import AnnotatorRow, AssignmentRow, JudgementRow, State, TaskRow

Q = TypeVar("Q", bound=Select[*tuple[Any, ...]])


def take(session: Session, task: TaskRow, *, late: bool = False) -> bool:
    """A place at the task, where one is free; beyond `wanted` for gold questions, and for who comes back late."""
    free = (TaskRow.held < TaskRow.wanted) | TaskRow.gold.is_not(None) | late
    taken = update(TaskRow).where(TaskRow.id == task.id, free).values(held=TaskRow.held + 1)
    return session.execute(taken.returning(TaskRow.id)).first() is not None


def give_back(session: Session, task: TaskRow) -> None:
    """For who was at it, and is no longer."""
    session.execute(update(TaskRow).where(TaskRow.id == task.id).values(held=TaskRow.held - 1))


def locked(query: Q) -> Q:
    """Two who change one assignment do so one after the other, and each before the task's count of places."""
    return query.with_for_update(of=AssignmentRow)


def wait_for(session: Session, person: Person) -> None:
    """For whatever else this person does at the same moment."""
    session.execute(select(AnnotatorRow.id).where(AnnotatorRow.id == person.id).with_for_update(key_share=True))


def assignment_of(session: Session, person: Person, assignment: int, *, lock: bool = False) -> AssignmentRow:
    """Raises NotYours."""
    rows = select(AssignmentRow).where(AssignmentRow.id == assignment)
    row = session.scalar(locked(rows) if lock else rows)
    if row is None or row.annotator_id != person.id:
        raise NotYours(f"no assignment {assignment} of {person.name}")
    return row


def is_there(session: Session, row: AssignmentRow, submission: str) -> bool:
    """Whether this was sent before. Raises AlreadyJudged where something else was."""
    sent = (JudgementRow.assignment_id == row.id) & (JudgementRow.submission == submission)
    if session.scalar(select(JudgementRow.id).where(sent)) is not None:
        return True
    if row.state == State.JUDGED:
        raise AlreadyJudged(f"assignment {row.id}")
    return False
