"""Between tables and what they mean."""

from dataclasses import asdict, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from plaudit.errors import ConfigurationError
from plaudit.feedback.records import Asked
from plaudit.feedback.schema import AssignmentRow, JudgementRow, TaskRow
from plaudit.feedback.tasks import Answer, Kind, Task, Verdict, read_verdict, write_verdict
from plaudit.trajectory import Message


def task_of(row: TaskRow) -> Task:
    prompt = row.prompt if isinstance(row.prompt, str) else tuple(Message(**turn) for turn in row.prompt)
    answers = tuple(Answer(**answer) for answer in row.answers)
    task = Task(row.key, Kind(row.kind), prompt, answers, row.wanted, None, row.priority, row.instructions)
    return task if row.gold is None else replace(task, gold=read_verdict(task, row.gold))


def row_of(task: Task, now: float) -> TaskRow:
    return TaskRow(
        key=task.key,
        kind=task.kind,
        prompt=task.prompt if isinstance(task.prompt, str) else [turn._asdict() for turn in task.prompt],
        answers=[asdict(answer) for answer in task.answers],
        gold=None if task.gold is None else write_verdict(task.gold),
        wanted=task.wanted,
        held=0,
        priority=task.priority,
        instructions=task.instructions,
        created_at=now,
    )


def require_same(given: Task, known: Task) -> None:
    """Raises ConfigurationError for two tasks of one key: what was said of one would be taken as said of the other.

    Where an answer came from, how many people are wanted and how urgent it is may differ: what was there first holds.
    """
    compared = {
        "kind": (given.kind, known.kind),
        "prompt": (given.prompt, known.prompt),
        "answers": ([one.text for one in given.answers], [one.text for one in known.answers]),
        "instructions": (given.instructions, known.instructions),
    }
    if differing := [name for name, (one, other) in compared.items() if one != other]:
        raise ConfigurationError(
            f"task '{given.key}' is there already, with other {' and '.join(differing)}: give tasks ids that differ"
        )


def asked_of(session: Session, row: AssignmentRow) -> Asked:
    last = session.scalar(
        select(JudgementRow).where(JudgementRow.assignment_id == row.id).order_by(JudgementRow.id.desc()).limit(1)
    )
    task = task_of(row.task)
    return Asked(row.id, task, tuple(row.shown), row.draft, None if last is None else read_verdict(task, last.verdict))


def judgement_row(
    row: AssignmentRow,
    submission: str,
    verdict: Verdict,
    at: float,
    *,
    comment: str = "",
    flagged: bool = False,
    seconds: float = 0.0,
) -> JudgementRow:
    return JudgementRow(
        submission=submission,
        assignment_id=row.id,
        verdict=write_verdict(verdict),
        comment=comment,
        flagged=flagged,
        seconds=seconds,
        created_at=at,
    )
