"""Tasks that somebody waits for: how far people are with them, and an end to those that nobody waits for any more.

heard       of each task that is there, what was said and who passed it on        -> Heard
look        the same; what is not there is added
withdraw    tasks that nobody was asked yet are gone, the others stay: nothing that somebody types is lost
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from plaudit.feedback.counts import askable
from plaudit.feedback.database import Database, lots
from plaudit.feedback.records import Judgement
from plaudit.feedback.schema import AssignmentRow, State, TaskRow
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Task


@dataclass(frozen=True, slots=True)
class Heard:
    """Of one task, so far."""

    judgements: tuple[Judgement, ...] = ()  # the oldest first
    skipped: int = 0  # people who passed it on
    people: int = 0  # who may be asked, those included who were

    @property
    def unheard(self) -> int:
        """People of whom something may still come."""
        return self.people - self.skipped - len(self.judgements)


class Awaited:
    """Any thread may call."""

    def __init__(self, database: Database) -> None:
        self._database, self._store = database, Store(database)

    def heard(self, keys: Collection[str]) -> dict[str, Heard]:
        """Without the tasks that are not there. Of no keys too the database is asked: it answers, or raises."""
        ended, people = self._ended(keys)
        nothing = Heard(people=people)
        found = {key: Heard(skipped=skipped, people=people) if skipped else nothing for key, skipped, _ in ended}
        for said in self._store.judged(key for key, _, judged in ended if judged):
            before = found[said.task.key]
            found[said.task.key] = replace(before, judgements=(*before.judgements, said))
        return found

    def look(self, tasks: Mapping[str, Task]) -> dict[str, Heard]:
        """By key."""
        found = self.heard(tasks)
        if missing := [task for key, task in tasks.items() if key not in found]:
            self._store.add_tasks(missing)
        return found

    def withdraw(self, keys: Collection[str]) -> None:
        """Should somebody be asked at the same moment, it stays: the tables' constraints see to that."""
        asked = select(AssignmentRow.id).where(AssignmentRow.task_id == TaskRow.id).exists()

        def work(session: Session) -> None:
            for some in lots(keys):
                session.execute(delete(TaskRow).where(TaskRow.key.in_(some), ~asked))

        self._database.attempt(work)

    def _ended(self, keys: Collection[str]) -> tuple[list[tuple[str, int, int]], int]:
        """(key, how many passed it on, how many judged it) of each that is there; and how many people there are."""
        of = AssignmentRow.task_id == TaskRow.id
        skipped, judged = (func.count().filter(AssignmentRow.state == state) for state in (State.SKIPPED, State.JUDGED))
        query = select(TaskRow.key, skipped, judged).outerjoin(AssignmentRow, of).group_by(TaskRow.key)
        with self._database.reading() as session:
            people = askable(session)
            rows = [row for some in lots(keys) for row in session.execute(query.where(TaskRow.key.in_(some)))]
        return [(key, passed, said) for key, passed, said in rows], people
