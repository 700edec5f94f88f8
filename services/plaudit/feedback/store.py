"""Who judges what: people, tasks, and places. Every method is one transaction, and holds nothing afterwards. Where two
people want one place, one has it, and the other's transaction begins again.

    add_person, sign_in       a person has a token; its digest alone is kept
    add_tasks                 added again, they are the same
    next                      the task that this person is at, else another one           -> Asked
    save_draft                what is typed and not yet sent
    judge, skip, undo         the end of it, and back
    record                    what somebody said elsewhere
    judged                    everything that was said, with who said it                  -> Judgement
    load, standing, progress  how far it is, for whoever looks (counts.py)

Sent twice, by a double click or by a browser that did not hear the answer, a judgement is one. Whoever comes back after
the time was over has judged all the same: nothing that somebody typed is lost.
"""

import hashlib
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from plaudit.errors import ConfigurationError
from plaudit.feedback import counts
from plaudit.feedback.counts import CURRENT, said
from plaudit.feedback.database import Database, Outrun, lots
from plaudit.feedback.mapping import asked_of, judgement_row, require_same, row_of, task_of
from plaudit.feedback.places import assignment_of, give_back, is_there, locked, take, wait_for
from plaudit.feedback.records import (
    Activity,
    AlreadyJudged,
    Asked,
    Judgement,
    Load,
    Person,
    Progress,
    Remark,
    Standing,
)
from plaudit.feedback.schema import LONGEST_NAME, AnnotatorRow, AssignmentRow, JudgementRow, Role, State, TaskRow
from plaudit.feedback.tasks import Task, Verdict, check, read_verdict

T = TypeVar("T")

LEASE_S = 1800.0
"""As long a person may be at one task before somebody else is asked."""
GOLD_EVERY = 10
"""One in so many is a question whose answer is known, where there is one that this person has not seen."""
IMPORTED = "imported"
"""The submission of what was said elsewhere."""
CANDIDATES = 64
"""Among so many of the next tasks one is drawn: not everybody wants the same one."""


class Store:
    """One per process; any thread may call."""

    def __init__(
        self,
        database: Database,
        *,
        lease_s: float = LEASE_S,
        gold_every: int = GOLD_EVERY,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        self._database, self._clock, self._random = database, clock, random.Random(seed)
        self._lease_s, self._gold_every = lease_s, gold_every

    # -- people ------------------------------------------------------------------------------------------------------

    def add_person(self, name: str, role: Role | None = None) -> str:
        """The token to sign in with, told once; who is known already has a new one, and the role as it was."""
        token = secrets.token_urlsafe(24)

        def work(session: Session) -> None:
            row = self._askable(session, name)
            row.token_sha256, row.role = _digest(token), role or row.role

        self._database.attempt(work)
        return token

    def person(self, name: str) -> Person:
        """By name, for who has the database; one who is not known yet has no token, and cannot sign in."""

        def work(session: Session) -> Person:
            row = self._askable(session, name)
            session.flush()
            return Person(row.id, row.name, Role(row.role))

        return self._database.attempt(work)

    def _askable(self, session: Session, name: str) -> AnnotatorRow:
        row = self._named(session, name)
        if row.role == Role.ELSEWHERE:
            row.role = Role.ANNOTATOR
        return row

    def _named(self, session: Session, name: str) -> AnnotatorRow:
        if not 0 < len(name) <= LONGEST_NAME or "\0" in name:
            raise ConfigurationError(f"a name of {len(name)} characters: people have 1 to {LONGEST_NAME}, none a NUL")
        row = session.scalar(select(AnnotatorRow).where(AnnotatorRow.name == name))
        if row is None:
            row = AnnotatorRow(name=name, token_sha256=_digest(secrets.token_hex()), role=Role.ELSEWHERE)
            row.created_at = self._clock()
            session.add(row)
        return row

    def sign_in(self, token: str) -> Person | None:
        """Whose token it is; None of nobody."""
        with self._database.reading() as session:
            row = session.scalar(select(AnnotatorRow).where(AnnotatorRow.token_sha256 == _digest(token)))
            return None if row is None else Person(row.id, row.name, Role(row.role))

    # -- tasks -------------------------------------------------------------------------------------------------------

    def add_tasks(self, tasks: Iterable[Task]) -> int:
        """How many were new. ConfigurationError where another task has the key of one."""
        new: dict[str, Task] = {}
        for task in tasks:
            require_same(task, new.setdefault(task.key, task))

        def work(session: Session) -> int:
            added = 0
            for keys in lots(new):
                known = {row.key: row for row in session.scalars(select(TaskRow).where(TaskRow.key.in_(keys)))}
                for row in known.values():
                    require_same(new[row.key], task_of(row))
                session.add_all(row_of(new[key], self._clock()) for key in keys if key not in known)
                added += len(keys) - len(known)
            return added

        return self._database.attempt(work)

    def next(self, person: Person) -> Asked | None:
        """The one that this person is at; else one that needs another judgement, the most urgent ones first."""
        self._database.attempt(self._release)
        return self._database.attempt(lambda session: self._next(session, person))

    def _next(self, session: Session, person: Person) -> Asked | None:
        row = self._open(session, person)
        if row is None:
            task = self._choose(session, person)
            row = self._reopen(session, person) if task is None else self._assign(session, person, task)
        return None if row is None else self._ask(session, row)

    def _ask(self, session: Session, row: AssignmentRow) -> Asked:
        row.state, row.expires_at, row.ended_at = State.OPEN, self._clock() + self._lease_s, None
        session.add(row)
        session.flush()
        return asked_of(session, row)

    def asked(self, person: Person, assignment: int) -> Asked:
        """A task that this person was asked. Raises NotYours."""
        with self._database.reading() as session:
            return asked_of(session, assignment_of(session, person, assignment))

    def _open(self, session: Session, person: Person) -> AssignmentRow | None:
        at = (AssignmentRow.annotator_id == person.id) & (AssignmentRow.state == State.OPEN)
        return session.scalar(locked(select(AssignmentRow).where(at).order_by(AssignmentRow.asked_at).limit(1)))

    def _release(self, session: Session) -> None:
        """In a transaction of its own, in the order of the tasks: two of them never wait for each other."""
        over = (AssignmentRow.state == State.OPEN) & (AssignmentRow.expires_at < self._clock())
        rows = select(AssignmentRow).where(over).order_by(AssignmentRow.task_id)
        for row in session.scalars(rows.with_for_update(skip_locked=True, of=AssignmentRow)).all():
            row.state = State.RELEASED
            give_back(session, row.task)

    def _reopen(self, session: Session, person: Person) -> AssignmentRow | None:
        """A task that this person once had too long, and that still wants somebody."""
        mine = (AssignmentRow.annotator_id == person.id) & (AssignmentRow.state == State.RELEASED)
        rows = session.scalars(locked(select(AssignmentRow).where(mine).order_by(AssignmentRow.asked_at))).all()
        return next((row for row in rows if take(session, row.task)), None)

    def _choose(self, session: Session, person: Person) -> TaskRow | None:
        gold_first = self._random.random() * self._gold_every < 1
        for gold in (gold_first, not gold_first):
            if found := self._candidates(session, person, gold=gold):
                return session.get(TaskRow, self._random.choice(found))
        return None

    def _candidates(self, session: Session, person: Person, *, gold: bool) -> list[int]:
        """The most urgent ones, those that others have begun first: what is judged by some shall be judged by all."""
        mine = (AssignmentRow.task_id == TaskRow.id) & (AssignmentRow.annotator_id == person.id)
        wanted = TaskRow.gold.is_not(None) if gold else TaskRow.gold.is_(None) & (TaskRow.held < TaskRow.wanted)
        order = (TaskRow.priority.desc(), *(() if gold else (TaskRow.held.desc(),)), TaskRow.id)
        rows = session.execute(
            select(TaskRow.id, TaskRow.priority, TaskRow.held)
            .where(wanted, ~select(AssignmentRow.id).where(mine).exists())
            .order_by(*order)
            .limit(CANDIDATES)
        ).all()
        return [row.id for row in rows if gold or row[1:] == rows[0][1:]]

    def _assign(self, session: Session, person: Person, task: TaskRow) -> AssignmentRow:
        """Raises Outrun where somebody else took the last place."""
        if not take(session, task):
            raise Outrun
        shown = list(range(len(task.answers)))
        self._random.shuffle(shown)
        return AssignmentRow(task=task, annotator_id=person.id, shown=shown, asked_at=self._clock())

    # -- judging -----------------------------------------------------------------------------------------------------

    def save_draft(self, person: Person, assignment: int, draft: Any) -> None:
        """What is typed and not yet sent. Raises NotYours."""

        def work(session: Session) -> None:
            row = assignment_of(session, person, assignment, lock=True)
            if row.state in (State.OPEN, State.RELEASED):
                row.draft = draft

        self._database.attempt(work)

    def judge(
        self,
        person: Person,
        assignment: int,
        submission: str,
        verdict: Verdict,
        *,
        comment: str = "",
        flagged: bool = False,
        seconds: float = 0.0,
    ) -> None:
        """`submission` is the page's own name for what it sends. Raises NotYours, AlreadyJudged, WrongVerdict."""

        def work(session: Session) -> None:
            row = assignment_of(session, person, assignment, lock=True)
            check(task_of(row.task), verdict)
            if is_there(session, row, submission):
                return
            if row.state != State.OPEN:  # the time was over, or it was skipped: it counts all the same
                take(session, row.task, late=True)
            at = self._clock()
            row.state, row.draft, row.ended_at = State.JUDGED, None, at
            took = seconds or max(at - row.asked_at, 0.001)  # a page without scripts does not say
            judged = judgement_row(row, submission, verdict, at, comment=comment, flagged=flagged, seconds=took)
            session.add(judged)

        self._database.attempt(work)

    def record(self, task: Task, name: str, verdict: Verdict, *, created_at: float | None = None) -> bool:
        """What somebody said elsewhere, once; whether it is new.

        Raises WrongVerdict; ConfigurationError where another task has the key of this one.
        A person of this name who is not known yet has no token, and cannot sign in.
        """
        check(task, verdict)
        now = self._clock()

        def work(session: Session) -> bool:
            person = self._named(session, name)
            asked = session.scalar(select(TaskRow).where(TaskRow.key == task.key)) or row_of(task, now)
            require_same(task, task_of(asked))
            session.add(asked)
            session.flush()
            mine = (AssignmentRow.task_id == asked.id) & (AssignmentRow.annotator_id == person.id)
            if session.scalar(select(AssignmentRow.id).where(mine)) is not None:
                return False
            said = AssignmentRow(
                task=asked,
                annotator_id=person.id,
                state=State.JUDGED,
                shown=list(range(len(task.answers))),
                asked_at=now,
                expires_at=now,
                ended_at=created_at or now,
            )
            take(session, asked, late=True)
            session.add(said)
            session.flush()
            session.add(judgement_row(said, IMPORTED, verdict, created_at or now))
            return True

        return self._database.attempt(work)

    def skip(self, person: Person, assignment: int, *, comment: str = "", flagged: bool = False) -> None:
        """Somebody else is asked. Raises NotYours; AlreadyJudged."""

        def work(session: Session) -> None:
            row = assignment_of(session, person, assignment, lock=True)
            if row.state == State.JUDGED:
                raise AlreadyJudged(f"assignment {assignment}")
            if row.state == State.OPEN:
                give_back(session, row.task)
            row.state, row.ended_at = State.SKIPPED, self._clock()
            row.comment, row.flagged = comment, flagged

        self._database.attempt(work)

    def undo(self, person: Person, at: int | None) -> Asked | None:
        """Takes back the last thing that this person said or skipped, and asks again; None where there is nothing.

        `at` is the assignment on the screen, None where there is none. Where the person is at another one, this was
        asked for before, and the answer did not arrive: it is that one.
        """
        ended = (AssignmentRow.annotator_id == person.id) & AssignmentRow.ended_at.is_not(None)
        last = select(AssignmentRow, JudgementRow).outerjoin(JudgementRow, CURRENT).where(ended)
        last = locked(last.order_by(AssignmentRow.ended_at.desc()).limit(1))

        def work(session: Session) -> Asked | None:
            wait_for(session, person)
            now = self._open(session, person)
            if now is not None and now.id != at:
                return asked_of(session, now)
            said = session.execute(last).first()
            if said is None:
                return None
            row, judgement = said
            if row.state == State.SKIPPED:
                take(session, row.task, late=True)
            if judgement is not None:
                judgement.withdrawn_at = self._clock()
            beside = row if judgement is None else judgement
            row.draft = {"comment": beside.comment, "flagged": "on" if beside.flagged else ""}
            if now is not None:
                row.asked_at = min(row.asked_at, now.asked_at - 1e-3)  # before what is on the screen now
            return self._ask(session, row)

        return self._database.attempt(work)

    def judged(self, keys: Iterable[str] | None = None) -> Iterator[Judgement]:
        """All that stands, or of the tasks of these keys, in lots of a query's; each oldest first."""
        if keys is None:
            yield from self._judged(true())
        else:
            for some in lots(keys):
                yield from self._judged(TaskRow.key.in_(some))

    def _judged(self, of: ColumnElement[bool]) -> Iterator[Judgement]:
        """Of the tasks that this is true of."""
        seconds = func.nullif(JudgementRow.seconds, 0.0)
        how = (JudgementRow.comment, JudgementRow.flagged, seconds, JudgementRow.created_at)
        standing = (
            said(AssignmentRow.task_id, AnnotatorRow.name, JudgementRow.verdict, AssignmentRow.shown, *how)
            .join(AnnotatorRow, AssignmentRow.annotator_id == AnnotatorRow.id)
            .join(TaskRow, AssignmentRow.task_id == TaskRow.id)
            .where(of)
            .order_by(JudgementRow.id)
        )
        judged = select(TaskRow).where(of, TaskRow.id.in_(said(AssignmentRow.task_id)))
        with self._database.reading() as session:
            tasks = {row.id: task_of(row) for row in session.scalars(judged)}
            rows = session.execute(standing).all()
        for task, name, verdict, shown, *rest in rows:
            yield Judgement(tasks[task], name, read_verdict(tasks[task], verdict), tuple(shown), *rest)

    # -- looking -----------------------------------------------------------------------------------------------------

    def load(self) -> Load:
        """What there is to do."""
        return self._look(counts.load)

    def standing(self, person: Person) -> Standing:
        """How far this person has come."""
        return self._look(lambda session: counts.standing(session, person))

    def missing(self, keys: Iterable[str]) -> int:
        """How many judgements the tasks of these keys still want, but for those that somebody passed on and of which
        nothing more may come: all others judged them or passed them on too."""
        return self._look(lambda session: counts.missing(session, keys))

    def nobody_left(self, keys: Iterable[str]) -> int:
        """How many of these tasks want more judgements when all people who are there have said something or passed."""
        return self._look(lambda session: counts.nobody_left(session, keys))

    def progress(self) -> Progress:
        """Over all tasks."""
        return self._look(counts.progress)

    def people(self) -> list[Activity]:
        """Everybody who said anything or may be asked, by name."""
        return self._look(counts.people)

    def askable(self) -> int:
        """How many people there are who may be asked."""
        return self._look(counts.askable)

    def remarks(self) -> list[Remark]:
        """What people said beside judging, the newest first."""
        return self._look(counts.remarks)

    def _look(self, query: Callable[[Session], T]) -> T:
        with self._database.reading() as session:
            return query(session)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
