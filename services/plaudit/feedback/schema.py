"""The tables. What they are made by is in migrations/: a change here needs one there, and a test compares the two.

    annotators ──< assignments >── tasks        an assignment: this person is, or was, asked this task
                        │
                        └──< judgements         what was said of it; taken back ones stay, with the time of that

A task wants so many people; `held` counts who is asked it, or has judged it. It grows only where it is less than that,
in one statement: no two people take the last place, whatever database it is and however many ask at once. Who lets time
pass, or skips, gives the place back.

Times are seconds since 1970. Texts people wrote and answers of models are in no log.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, MetaData, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from plaudit.feedback.tasks import LONGEST_KEY

LONGEST_NAME = 200


class Role(StrEnum):
    """What a person may do."""

    ANNOTATOR = "annotator"
    ADMIN = "admin"  # and looks at progress, and exports
    ELSEWHERE = "elsewhere"  # nothing: what this person said came from somewhere else


class State(StrEnum):
    """Of an assignment."""

    OPEN = "open"  # asked, until `expires_at`
    JUDGED = "judged"
    SKIPPED = "skipped"
    RELEASED = "released"  # the time was over: somebody else is asked


def _where(rows: str) -> dict[str, Any]:
    """An index of those rows alone."""
    return {"sqlite_where": text(rows), "postgresql_where": text(rows)}


class Base(DeclarativeBase):
    """With names for constraints: a migration can then drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class AnnotatorRow(Base):
    """A person."""

    __tablename__ = "annotators"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), unique=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)  # the token itself is nowhere
    role: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[float]


class TaskRow(Base):
    """See `tasks.Task`."""

    __tablename__ = "tasks"
    __table_args__ = (
        # In the order in which they are asked, so that the next one is found at once among any number of them.
        Index(
            "ix_tasks_wanted",
            text("priority DESC"),
            text("held DESC"),
            "id",
            **_where("gold IS NULL AND held < wanted"),
        ),
        Index("ix_tasks_gold", text("priority DESC"), "id", **_where("gold IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(LONGEST_KEY), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    prompt: Mapped[Any] = mapped_column(JSON)
    answers: Mapped[list[dict[str, str]]] = mapped_column(JSON)
    gold: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    wanted: Mapped[int]
    held: Mapped[int]
    priority: Mapped[float]
    instructions: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[float]


class AssignmentRow(Base):
    """One person and one task, once and for all: nobody is asked twice."""

    __tablename__ = "assignments"
    __table_args__ = (UniqueConstraint("task_id", "annotator_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id"), index=True)
    state: Mapped[str] = mapped_column(String(20), index=True)
    shown: Mapped[list[int]] = mapped_column(JSON)  # the answers' positions in the task, in the order of the screen
    draft: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)  # what is typed and not yet sent
    asked_at: Mapped[float]
    expires_at: Mapped[float]
    ended_at: Mapped[float | None]  # judged or skipped
    comment: Mapped[str] = mapped_column(Text, default="")  # why it was skipped
    flagged: Mapped[bool] = mapped_column(default=False)  # skipped, for something is wrong with the task

    task: Mapped[TaskRow] = relationship(lazy="joined", innerjoin=True)


class JudgementRow(Base):
    """What one person said of one task."""

    __tablename__ = "judgements"
    __table_args__ = (
        UniqueConstraint("assignment_id", "submission"),
        Index(
            "uq_judgements_current",
            "assignment_id",
            unique=True,
            **_where("withdrawn_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    submission: Mapped[str] = mapped_column(String(64))  # the page's own: sent twice, it is the same
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"))
    verdict: Mapped[dict[str, Any]] = mapped_column(JSON)
    comment: Mapped[str] = mapped_column(Text)
    flagged: Mapped[bool]  # something is wrong with the task
    seconds: Mapped[float]  # from when it was shown; 0: it was said elsewhere
    created_at: Mapped[float]
    withdrawn_at: Mapped[float | None]
