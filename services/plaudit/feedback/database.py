"""A database of judgements, in SQLite or PostgreSQL: open it, bring its tables up to date, work in transactions."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from plaudit.errors import ConfigurationError, DependencyUnreachable, first_line

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
BUSY_MS = 10_000
"""SQLite has one writer at a time: so long a second one waits."""
MOST_ATTEMPTS = 50
"""Of a transaction: as many people may want one place at once."""
MIGRATING = 7_115_212
"""The number of PostgreSQL's lock that whoever migrates holds: of several services that begin at once, one does."""
SILENCE = {
    "connect_timeout": "10",  # seconds
    "tcp_user_timeout": "20000",  # ms, for what was sent and not acknowledged
    "keepalives_idle": "5",  # seconds: a machine that is gone acknowledges nothing any more, and sends nothing either
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "options": "-c statement_timeout=60000",  # ms, of one query: whoever asked has long gone
}
"""How long a PostgreSQL that says nothing is waited for, unless the URL says otherwise."""
OVERTAKEN = ("40001", "40P01")
"""PostgreSQL's: serialization failure, deadlock. The transaction begins again, and finds what the other one did."""
DatabaseFailed = SQLAlchemyError
"""What a transaction raises where the database is away, or is not what it was."""

READING = "plaudit_reading"
"""The option of a connection that does not write."""
AT_ONCE = 1000
"""Keys that one query may name: a database takes so many parameters."""

T = TypeVar("T")


class Outrun(Exception):
    """Somebody else was quicker: what was read as free is not any more."""


def lots(keys: Iterable[str]) -> Iterator[list[str]]:
    """As many at a time as a query may name."""
    coming = iter(keys)
    while some := list(islice(coming, AT_ONCE)):
        yield some


class Database:
    """Its tables are those of this version."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine, expire_on_commit=False)
        snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        looking = engine.execution_options(**snapshot if engine.dialect.name == "postgresql" else {READING: True})
        self._looks = sessionmaker(looking, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """All of it is kept, or nothing."""
        with self._sessions() as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """All that is read is of one moment; nobody who writes waits for it, nor it for them."""
        with self._looks() as session, session.begin():
            yield session

    def attempt(self, work: Callable[[Session], T]) -> T:
        """What `work` returns, in one transaction; from the start again where it, or a constraint, finds it outrun."""
        for _ in range(MOST_ATTEMPTS - 1):
            try:
                with self.transaction() as session:
                    return work(session)
            except (IntegrityError, Outrun):
                continue
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) not in OVERTAKEN:
                    raise
        with self.transaction() as session:
            return work(session)

    def close(self) -> None:
        """Lets its connections go."""
        self._engine.dispose()


def open_database(url: str, *, new: bool = True) -> Database:
    """`sqlite:///judgements.db` or `postgresql://user:password@host/name`; its tables are made, or brought up to date.

    Without `new` a file that is not there is an error: whoever only looks would find nothing, and believe it.
    Raises ConfigurationError where there is none, nor could be; DependencyUnreachable where it does not answer.
    """
    engine = _engine(url)
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if not new and file is not None and not Path(file).exists():
        raise ConfigurationError(f"no database {file}: name the one that the judgements are in")
    try:
        _migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        told = f"{engine.url.render_as_string()} ({first_line(error.orig or error)})"
        if isinstance(error, OperationalError):
            raise DependencyUnreachable(f"{told}: is it up, and may it be used?") from None
        raise ConfigurationError(f"{told}: judgements cannot be kept in it, name another one") from None
    return Database(engine)


def without_password(url: str) -> str:
    """For files that others read. Raises ConfigurationError for a URL that is none."""
    return _parsed(url).render_as_string(hide_password=True)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "database: no URL; give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        ) from None


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    kind = parsed.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise ConfigurationError(f"database '{kind}': sqlite or postgresql")
    given = {} if kind == "sqlite" else {key: wait for key, wait in SILENCE.items() if key not in parsed.query}
    engine = create_engine(
        parsed.set(drivername=DRIVERS[kind]),
        connect_args=given,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text would have what people wrote
    )
    if kind == "sqlite":
        _prepare_sqlite(engine)
    return engine


def _prepare_sqlite(engine: Engine) -> None:
    if engine.url.database and engine.url.database != ":memory:":
        try:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"database {engine.url.database}: {error.strerror}: choose another file") from None

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions late, as readers
        connection.execute("PRAGMA journal_mode=WAL")  # readers and the writer do not wait for each other
        connection.execute("PRAGMA synchronous=FULL")  # what is committed outlives a power cut
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        # A reader that becomes a writer may be refused at once: who may write takes the lock before.
        reading = connection.get_execution_options().get(READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _migrate(engine: Engine, revision: str = "head") -> None:
    config = Config()
    config.set_main_option("script_location", "plaudit.feedback:migrations")
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))  # of many rows it takes its time
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATING})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError:
            raise ConfigurationError(
                "the database is of a newer version of plaudit, which this one cannot read: upgrade plaudit"
            ) from None
