"""How far it is: what is counted of the tables."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Row, Select, case, func, or_, select
from sqlalchemy.orm import Session

from plaudit.feedback.database import lots
from plaudit.feedback.records import Activity, Load, Person, Progress, Remark, Standing
from plaudit.feedback.schema import AnnotatorRow, AssignmentRow, JudgementRow, Role, State, TaskRow

MOST_COUNTED = 1000
"""Of the tasks that are left: whoever has more before them need not know how many."""
MOST_REMARKS = 100
"""The newest ones: all of them are in the exports."""
CURRENT = (JudgementRow.assignment_id == AssignmentRow.id) & JudgementRow.withdrawn_at.is_(None)
WANTED = TaskRow.gold.is_(None) & (TaskRow.held < TaskRow.wanted)


def load(session: Session) -> Load:
    """See `Store.load`."""
    waiting = session.scalar(select(func.coalesce(func.sum(TaskRow.wanted - TaskRow.held), 0)).where(WANTED))
    open_ = session.scalar(select(func.count(AssignmentRow.id)).where(AssignmentRow.state == State.OPEN))
    return Load(waiting or 0, open_ or 0)


def standing(session: Session, person: Person) -> Standing:
    """See `Store.standing`."""
    mine = select(AssignmentRow.id).where(AssignmentRow.annotator_id == person.id)
    asked = mine.where(AssignmentRow.task_id == TaskRow.id).exists()
    left = select(TaskRow.id).where(WANTED, ~asked).limit(MOST_COUNTED)
    judged = mine.where(AssignmentRow.state == State.JUDGED)
    counts = (session.scalar(select(func.count()).select_from(some.subquery())) or 0 for some in (judged, left))
    return Standing(*counts)


def missing(session: Session, keys: Iterable[str]) -> int:
    """See `Store.missing`."""
    return sum(row.wanted - row.given for row, unheard in _short(session, keys) if unheard > 0 or not row.skipped)


def nobody_left(session: Session, keys: Iterable[str]) -> int:
    """See `Store.nobody_left`."""
    return sum(unheard <= 0 for _, unheard in _short(session, keys))


def _short(session: Session, keys: Iterable[str]) -> Iterator[tuple[Row[int, int, int, int], int]]:
    """Tasks of which less was said than is wanted, and of how many people something may still come."""
    given, skipped = func.count(JudgementRow.id), func.count().filter(AssignmentRow.state == State.SKIPPED)
    over = AssignmentRow.state.in_((State.JUDGED, State.SKIPPED)) & (AnnotatorRow.role != Role.ELSEWHERE)
    heard = func.count().filter(over).label("heard")  # of those who may be asked
    of_task = (
        select(TaskRow.wanted, given.label("given"), skipped.label("skipped"), heard)
        .outerjoin(AssignmentRow, AssignmentRow.task_id == TaskRow.id)
        .outerjoin(AnnotatorRow, AssignmentRow.annotator_id == AnnotatorRow.id)
        .outerjoin(JudgementRow, CURRENT)
        .group_by(TaskRow.id, TaskRow.wanted)
        .having(given < TaskRow.wanted)
    )
    people = askable(session)
    rows = (row for some in lots(keys) for row in session.execute(of_task.where(TaskRow.key.in_(some))))
    return ((row, people - row.heard) for row in rows)


def progress(session: Session) -> Progress:
    """See `Store.progress`."""
    given = said(AssignmentRow.task_id, func.count().label("given")).group_by(AssignmentRow.task_id).subquery()
    of_task = func.coalesce(given.c.given, 0)
    left = case((TaskRow.wanted > of_task, TaskRow.wanted - of_task), else_=0)
    tasks = select(func.count(), *(func.coalesce(func.sum(of), 0) for of in (TaskRow.wanted, of_task, left)))
    tasks = tasks.select_from(TaskRow).outerjoin(given, given.c.task_id == TaskRow.id).where(TaskRow.gold.is_(None))
    of_all = map(int, session.execute(tasks).one())
    known = select(func.count()).where(TaskRow.gold.is_not(None))
    skipped = select(func.count()).where(AssignmentRow.state == State.SKIPPED)
    flagged = (said(func.count()).where(JudgementRow.flagged), skipped.where(AssignmentRow.flagged))
    counted = ((known,), (skipped,), flagged)
    return Progress(*of_all, *(sum(int(session.scalar(query) or 0) for query in queries) for queries in counted))


def people(session: Session) -> list[Activity]:
    """See `Store.people`."""
    passed = AssignmentRow.state == State.SKIPPED
    skipped, judged = func.count().filter(passed), func.count(JudgementRow.id)
    flagged = func.count().filter(or_(JudgementRow.flagged, passed & AssignmentRow.flagged))
    query = (
        select(AnnotatorRow.name, judged, skipped, flagged)
        .outerjoin(AssignmentRow, AssignmentRow.annotator_id == AnnotatorRow.id)
        .outerjoin(JudgementRow, CURRENT)
        .group_by(AnnotatorRow.id)
        .order_by(AnnotatorRow.name)
    )
    return [Activity(*row) for row in session.execute(query)]


def askable(session: Session) -> int:
    """See `Store.askable`."""
    return session.scalar(select(func.count(AnnotatorRow.id)).where(AnnotatorRow.role != Role.ELSEWHERE)) or 0


def remarks(session: Session) -> list[Remark]:
    """See `Store.remarks`; at most MOST_REMARKS."""
    of_both = (TaskRow.key, AnnotatorRow.name)
    judged = said(*of_both, JudgementRow.flagged, JudgementRow.comment, JudgementRow.created_at)
    skipped = select(*of_both, AssignmentRow.flagged, AssignmentRow.comment, AssignmentRow.ended_at)
    skipped = skipped.where(AssignmentRow.state == State.SKIPPED).select_from(AssignmentRow)
    found = [
        Remark(key, name, skip, flagged, comment, at)
        for skip, query, row in ((False, judged, JudgementRow), (True, skipped, AssignmentRow))
        for key, name, flagged, comment, at in session.execute(
            query.join(TaskRow, AssignmentRow.task_id == TaskRow.id)
            .join(AnnotatorRow, AssignmentRow.annotator_id == AnnotatorRow.id)
            .where(or_(row.flagged, row.comment != ""))
            .order_by(row.id.desc())
            .limit(MOST_REMARKS)
        )
    ]
    return sorted(found, key=lambda remark: -remark.at)[:MOST_REMARKS]


def said(*what: Any) -> Select[Any]:
    """Of the judgements that were not taken back."""
    query = select(*what).select_from(JudgementRow)
    joined = query.join(AssignmentRow, JudgementRow.assignment_id == AssignmentRow.id)
    return joined.where(JudgementRow.withdrawn_at.is_(None))
