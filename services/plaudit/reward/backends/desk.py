"""Waiting for people: what is asked of them, what they say, and when nobody waits for it any more.

    event loop                                          the desk's thread
    recall    who asks for what was judged before  ──►  one look at the database
    waiting   a future for each task
       ▲
       └───── every POLL_S, for all that waits     ◄──  one look: adds what is missing, takes back what is given up

A database that is away for a moment holds nobody up. When it has not answered for PATIENCE_S, those who wait are told,
and so is whoever comes, until it is back. The tasks are in it: asked again, they are the same.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from plaudit.feedback.awaited import Awaited, Heard
from plaudit.feedback.database import Database, DatabaseFailed
from plaudit.feedback.tasks import Task
from plaudit.reward.errors import DatabaseAway
from plaudit.reward.items import Outcome
from plaudit.reward.workers import DaemonPool

log = logging.getLogger(__name__)

POLL_S = 0.3
"""People take seconds: this adds little to that, and asks little of the database."""
PATIENCE_S = 10.0
"""So long a database may be silent: restarting it takes less."""

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Waiting:
    """One task, for whoever asks for it."""

    task: Task
    callers: int = 0
    since: float = field(default_factory=time.monotonic)
    outcome: "asyncio.Future[Outcome]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Done(NamedTuple):
    """A task that people are done with."""

    heard: Heard
    waited: float  # seconds


class Desk:
    """Lives on the event loop. `conclude` says what comes of a task, or None while people are to go on with it."""

    def __init__(
        self,
        name: str,
        database: Database,
        conclude: Callable[[Heard], Outcome | None],
        observe: Callable[[list[Done], int], None] = lambda done, waiting: None,
        *,
        withdraw: bool = True,
    ) -> None:
        self._name, self._database, self._awaited = name, database, Awaited(database)
        self._conclude, self._observe, self._withdraw = conclude, observe, withdraw
        self._thread = DaemonPool(1, f"people-{name}")
        self._waiting: dict[str, _Waiting] = {}
        self._given_up: set[str] = set()
        self._answered, self._told_away = time.monotonic(), False
        self._polling = asyncio.get_running_loop().create_task(self._poll())
        self._polling.add_done_callback(self._ended)

    def away(self) -> bool:
        """Whether the database has been silent for too long."""
        return time.monotonic() - self._answered > PATIENCE_S

    def beating(self) -> bool:
        """False once nothing is looked for any more."""
        return not self._polling.done()

    def close(self) -> None:
        """Nobody waits any more. From any thread."""
        self._polling.get_loop().call_soon_threadsafe(self._polling.cancel)
        self._thread.shutdown()
        self._database.close()

    def is_awaited(self, key: str) -> bool:
        """By somebody else: asking for it asks nothing more of people."""
        return key in self._waiting

    async def recall(self, keys: Collection[str]) -> dict[str, Outcome]:
        """What people are done with. Raises DatabaseAway."""
        if self.away():
            raise DatabaseAway
        heard = await self._ask(partial(self._awaited.heard, list(keys)))
        return {key: outcome for key, one in heard.items() if (outcome := self._conclude(one)) is not None}

    @contextmanager
    def waiting(self, tasks: Collection[Task]) -> "Iterator[dict[str, asyncio.Future[Outcome]]]":
        """Has people asked for the length of the block; by key, what comes of it. DatabaseAway is an outcome too."""
        joined = [self._waiting.setdefault(task.key, _Waiting(task)) for task in tasks]
        for one in joined:
            one.callers += 1
            self._given_up.discard(one.task.key)
        try:
            yield {one.task.key: one.outcome for one in joined}
        finally:
            for one in joined:
                self._leave(one)

    def _leave(self, one: _Waiting) -> None:
        one.callers -= 1
        if not one.callers and not one.outcome.done():
            del self._waiting[one.task.key]
            if self._withdraw:
                self._given_up.add(one.task.key)

    async def _ask(self, work: Callable[[], T]) -> T:
        """On the thread. Raises DatabaseAway."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (TimeoutError, DatabaseFailed):
            raise DatabaseAway from None  # the text of a database's error may hold what people wrote
        self._answered = time.monotonic()
        return answer

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            tasks = {key: one.task for key, one in self._waiting.items()}
            given_up, self._given_up = self._given_up, set()
            try:
                heard = await self._ask(partial(self._look, tasks, given_up))
            except DatabaseAway:
                self._given_up |= given_up - self._waiting.keys()
                if self.away():
                    self._give_out()
            else:
                self._settle(heard)
            self._tell()

    def _ended(self, polling: "asyncio.Task[None]") -> None:
        """Before `close` it is a mistake of ours: liveness falls, and the log has where."""
        if not polling.cancelled() and (error := polling.exception()) is not None:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {last.filename}:{last.lineno}"  # its text may hold what people wrote
            log.error("people's judgements are looked for no more", extra={"model": self._name, "error": where})

    def _tell(self) -> None:
        """Of each change, once."""
        if self._told_away != self.away():
            self._told_away = not self._told_away
            state = "away" if self._told_away else "back"
            log.warning("the database of judgements is %s", state, extra={"model": self._name})

    def _look(self, tasks: Mapping[str, Task], given_up: Collection[str]) -> dict[str, Heard]:
        """On the thread."""
        if given_up:
            self._awaited.withdraw(given_up)
        return self._awaited.look(tasks)

    def _settle(self, heard: Mapping[str, Heard]) -> None:
        done = []
        for key, one in heard.items():
            if (outcome := self._conclude(one)) is not None and (waiting := self._waiting.pop(key, None)) is not None:
                waiting.outcome.set_result(outcome)
                done.append(Done(one, time.monotonic() - waiting.since))
        self._observe(done, len(self._waiting))

    def _give_out(self) -> None:
        """Nobody is to wait for what may never come."""
        for waiting in self._waiting.values():
            waiting.outcome.set_result(DatabaseAway())
        self._waiting.clear()
        self._observe([], 0)
