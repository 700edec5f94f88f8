"""From many callers to one device: the one file of the server with two threads at work.

    event loop                                device thread
    submit() ── puts work in, wakes it ──►    takes a batch:  the work whose turn it is (fair.py) and what is nearest
        │                                                     to it in cost; no wait when idle
    awaits its call's future                  drops what is withdrawn or past its deadline
        ▲                                     runs each distinct payload once
        └──── call_soon_threadsafe ◄──────    hands the calls that are complete back, takes the next batch

While the device is busy work piles up, so batches grow with the load by themselves. A batch that fails is halved until
the item that poisons it stands alone; out of memory also shrinks the budget, to half of what did not fit. A device that
is lost fails every call.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from plaudit.reward.errors import DeadlineExpired, DeviceFailed, DeviceLost, RequestError
from plaudit.reward.fair import FairQueue
from plaudit.reward.items import Deadline

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Hashable)
V = TypeVar("V")
WINDOW = 512
"""How many of the next entries are sorted by cost for one batch."""
REPLY_S = 0.002
"""A deadline nearer than this has passed: no answer would arrive in time, and the forward itself has yet to begin."""


class OutOfMemory(Exception):
    """Raised by `run` when the batch was too large for the device."""


class Batch(NamedTuple):
    """A batch that ran."""

    items: int
    cost: float  # of its distinct payloads
    padded_cost: float
    seconds: float
    behind: bool  # more was waiting when it was taken


class Budget(NamedTuple):
    """What one batch may be."""

    cost: float
    """Longest cost times distinct payloads."""
    waste: float = float("inf")
    """How much of that may be padding: as much as a batch of its own would cost (see `backends.model`)."""
    items: float = float("inf")
    """Distinct payloads."""
    seconds: float = 0.0
    """That a batch of this cost took when it was measured; 0: it was not."""


class Ran(NamedTuple, Generic[V]):
    """What became of a call's payloads, in order, and the longest that one waited and ran, in seconds."""

    values: "list[V | RequestError]"
    queued: float
    forward: float


class _Call(Generic[V]):
    """One `submit`. The device thread fills it in; the loop reads it when nothing is pending any more."""

    __slots__ = ("client", "deadline", "forward", "future", "pending", "queued", "since", "values", "withdrawn")

    def __init__(self, size: int, deadline: Deadline, client: str, future: "asyncio.Future[None]") -> None:
        self.client = client
        self.values: list[V | RequestError] = [DeviceFailed("never ran")] * size
        self.pending = size
        self.deadline = float("inf") if deadline.at is None else deadline.at - REPLY_S
        self.future = future
        self.withdrawn = False
        self.since = time.monotonic()
        self.queued = self.forward = 0.0


@dataclass(eq=False, slots=True)
class _Entry(Generic[P, V]):
    payload: P
    cost: float
    call: _Call[V]
    position: int  # in the call

    @property
    def client(self) -> str:
        """Who takes a turn for it."""
        return self.call.client


class Batcher(Generic[P, V]):
    """Runs `run(payloads) -> values` on one thread, batch by batch; `observe` is called on the loop after each."""

    def __init__(
        self,
        name: str,
        run: Callable[[list[P]], list[V]],
        budget: Budget,
        *,
        observe: Callable[[Batch], None] = lambda batch: None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._run, self._budget, self._observe, self._loop = run, budget, observe, loop
        self._waiting: FairQueue[_Entry[P, V]] = FairQueue()
        self._changed = threading.Condition()
        self._open = True
        self._behind = False
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=f"device-{name}", daemon=True)
        self._thread.start()

    async def submit(
        self, payloads: Sequence[P], costs: Sequence[float], deadline: Deadline, client: str = ""
    ) -> Ran[V]:
        """One value per payload, in order. Cancelling it takes what has not begun out of the queue.

        Clients take turns by what their payloads cost.
        """
        call: _Call[V] = _Call(len(payloads), deadline, client, self._loop.create_future())
        if not payloads:
            return Ran([], 0.0, 0.0)
        entries = [
            _Entry(payload, cost, call, position)
            for position, (payload, cost) in enumerate(zip(payloads, costs, strict=True))
        ]
        with self._changed:
            self._waiting.put(client, entries)
            self._changed.notify()
        try:
            await call.future
        except asyncio.CancelledError:
            call.withdrawn = True
            raise
        return Ran(call.values, call.queued, call.forward)

    def beating(self, patience: float) -> bool:
        """False when the thread has been in one place for `patience` seconds, or is gone."""
        return self._thread.is_alive() and time.monotonic() - self._beat < patience

    def close(self) -> None:
        """Ends the thread once its batch is done; the caller has seen to it that nothing waits."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(timeout=5)

    # ---- on the device thread ----

    def _work(self) -> None:
        while self._open:
            self._beat = time.monotonic()
            with self._changed:
                if not self._waiting:
                    self._waiting.rest()
                    self._changed.wait(timeout=0.5)
            if batch := self._take():
                self._serve(batch)

    def _take(self) -> list[_Entry[P, V]]:
        """The next batch, out of the queue. The lock is held for the queue's ends alone: `submit` waits for it."""
        window: list[_Entry[P, V]] = []
        while len(window) < WINDOW and (entries := self._next(WINDOW - len(window))):
            window += self._wanted(entries)
        chosen = set(choose([(entry.payload, entry.cost) for entry in window], self._budget))
        with self._changed:
            self._waiting.put_back([entry for at, entry in enumerate(window) if at not in chosen])
            self._behind = bool(self._waiting)
        return [entry for at, entry in enumerate(window) if at in chosen]

    def _next(self, most: int) -> list[_Entry[P, V]]:
        with self._changed:
            return self._waiting.take(most)

    def _wanted(self, entries: Sequence[_Entry[P, V]]) -> Sequence[_Entry[P, V]]:
        """What is not run takes nobody's turn."""
        alive = self._alive(entries)
        if len(alive) < len(entries):
            left = set(alive)
            with self._changed:
                self._waiting.give_back(entry for entry in entries if entry not in left)
        return alive

    def _alive(self, entries: Sequence[_Entry[P, V]]) -> list[_Entry[P, V]]:
        """Those that somebody still waits for; the expired ones are answered."""
        now = time.monotonic()
        wanted = [entry for entry in entries if not entry.call.withdrawn]
        self._deliver((entry, DeadlineExpired("queued for too long")) for entry in wanted if entry.call.deadline <= now)
        return [entry for entry in wanted if entry.call.deadline > now]

    def _serve(self, batch: list[_Entry[P, V]]) -> None:
        """Runs what of `batch` is still wanted; where that fails, its halves."""
        self._beat = began = time.monotonic()
        batch = self._alive(batch)
        costs = {entry.payload: entry.cost for entry in batch}
        if not costs:
            return
        try:
            values = dict(zip(costs, self._run(list(costs)), strict=True))
        except Exception as error:
            self._failed(batch, costs, error)
            return
        seconds = time.monotonic() - began
        for entry in batch:
            entry.call.queued = max(entry.call.queued, began - entry.call.since)
            entry.call.forward = max(entry.call.forward, seconds)
        done = Batch(len(batch), sum(costs.values()), max(costs.values()) * len(costs), seconds, self._behind)
        self._deliver(((entry, values[entry.payload]) for entry in batch), done)

    def _failed(self, batch: list[_Entry[P, V]], costs: dict[P, float], error: Exception) -> None:
        """`costs` are of its distinct payloads."""
        if isinstance(error, DeviceLost):
            self._deliver([(entry, error) for entry in batch])
            return
        if len(costs) > 1 and isinstance(error, OutOfMemory):  # half of what did not fit, not of what may be
            half = max(costs.values()) * len(costs) / 2
            self._budget = self._budget._replace(cost=min(self._budget.cost, half))
            log.warning("out of device memory: smaller batches from now on", extra={"budget": self._budget.cost})
        if len(costs) > 1:
            first = set(list(costs)[: len(costs) // 2])
            self._serve([entry for entry in batch if entry.payload in first])
            self._serve([entry for entry in batch if entry.payload not in first])
            return
        log.error("an item failed on the device", exc_info=error)
        self._deliver([(entry, DeviceFailed("the model failed on this input")) for entry in batch])

    def _deliver(self, results: Iterable[tuple[_Entry[P, V], V | RequestError]], batch: Batch | None = None) -> None:
        """Wakes the loop once for all that is complete, and for what it should know of the batch."""
        complete = []
        for entry, value in results:
            call = entry.call
            call.values[entry.position] = value
            call.pending -= 1
            if not call.pending:
                complete.append(call.future)
        if (complete or batch) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, complete, batch)

    # ---- on the event loop ----

    def _settle(self, futures: "list[asyncio.Future[None]]", batch: Batch | None) -> None:
        for future in futures:
            if not future.done():
                future.set_result(None)
        if batch is not None:
            self._observe(batch)


def choose(waiting: Sequence[tuple[Hashable, float]], budget: Budget) -> list[int]:
    """Indices of the next batch out of (payload, cost) in order of arrival.

    The first one always goes, alone if it must; then the others by nearness of cost, as far as `budget` goes.
    Duplicates ride along for nothing.
    """
    if not waiting:
        return []
    oldest, longest = waiting[0]
    chosen, distinct, total = [0], {oldest}, longest
    for index in sorted(range(1, len(waiting)), key=lambda index: abs(waiting[index][1] - waiting[0][1])):
        payload, cost = waiting[index]
        if payload not in distinct:
            width, size = max(longest, cost), len(distinct) + 1
            if width * size > budget.cost or size > budget.items or width * size - total - cost > budget.waste:
                continue
            distinct.add(payload)
            longest, total = width, total + cost
        chosen.append(index)
    return chosen
