"""Each test of a store runs with SQLite, and in `make test-system` with a real PostgreSQL too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from plaudit.feedback.database import Database, open_database
from plaudit.feedback.store import Store

from .postgres import postgresql, programs
from .stores import Clock


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    if programs() is None:
        pytest.skip("needs PostgreSQL (Debian package postgresql)")
    with postgresql() as url:
        yield url


@pytest.fixture
def empty_postgresql(postgresql_url: str) -> str:
    """Its URL, with nothing in it."""
    engine = create_engine(postgresql_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()
    return postgresql_url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/judgements.db"
    found: str = request.getfixturevalue("empty_postgresql")
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    found = open_database(url)
    yield found
    found.close()


@pytest.fixture
def store(database: Database, clock: Clock) -> Store:
    return Store(database, clock=clock, seed=0)
