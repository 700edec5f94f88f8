"""A database is made, brought up to date, or named where it cannot be had."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from plaudit.errors import ConfigurationError, DependencyUnreachable
from plaudit.feedback.database import Database, _engine, _migrate, open_database
from plaudit.feedback.schema import Base
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Task, Thumb

from .stores import ask, person


def test_the_migrations_make_the_tables_of_the_schema(database: Database, url: str) -> None:
    def compared(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind != "index" or "sqlite" not in url or name not in ("ix_tasks_wanted", "ix_tasks_gold")

    with database._engine.connect() as connection:  # of SQLite alembic does not read what an index is sorted by
        context = MigrationContext.configure(connection, opts={"include_object": compared})
        assert compare_metadata(context, Base.metadata) == []
    open_database(url).close()  # a second time nothing is left to do


def test_a_service_of_the_version_before_goes_on_beside_a_new_one(url: str) -> None:
    """Both on one database: neither its tasks nor those that it adds are lost."""
    engine = _engine(url)
    _migrate(engine, "0001")
    added = text(
        "INSERT INTO tasks (key, kind, prompt, answers, wanted, held, priority, created_at)"
        " VALUES (:key, 'thumbs', '\"Hi\"', '[{\"text\": \"Hello\"}]', 1, 0, 0, 0)"
    )
    with engine.begin() as connection:
        connection.execute(added, {"key": "before"})
    database = open_database(url)
    with engine.begin() as connection:
        connection.execute(added, {"key": "after"})
    found = Store(database, seed=0)
    ada = person(found, "Ada")
    for _ in range(2):
        asked = ask(found, ada)
        assert asked.task == Task(asked.task.key, Kind.THUMBS, "Hi", (Answer("Hello"),))
        found.judge(ada, asked.assignment, "1", Thumb(True))
    assert {said.task.key for said in found.judged()} == {"before", "after"}
    database.close()
    engine.dispose()


def test_a_database_of_a_newer_version_is_left_alone(database: Database, url: str) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer version of plaudit"):
        open_database(url)


@pytest.mark.parametrize("wrong", ["judgements.db", "mysql://a/b", "sqlite", "nosuch://x"])
def test_what_is_no_url_is_said(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite"):
        open_database(wrong)


@pytest.mark.parametrize("wrong", ["/dev/null/judgements.db", "{here}/notes.txt"])
def test_a_place_that_can_be_no_database_is_named(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "notes.txt").write_text("what I thought of it " * 100)
    path = wrong.format(here=tmp_path)
    with pytest.raises(ConfigurationError, match=f"{path}.*(choose|name) another"):
        open_database(f"sqlite:///{path}")


def test_a_database_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(DependencyUnreachable, match="is it up") as caught:
        open_database("postgresql://plaudit:sesame@127.0.0.1:1/judgements?connect_timeout=2")
    assert "sesame" not in str(caught.value)
