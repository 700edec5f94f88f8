"""From many callers to one device: the one file of the server with two threads at work.

    event loop                                device thread
    submit() ── puts work in, wakes it ──►    takes a batch:  the oldest work and what is nearest to it in cost,
        │                                                     as much as the budget holds; no wait when idle
    awaits its futures                        drops what is cancelled or past its deadline
        ▲                                     runs each distinct payload once
        └──── call_soon_threadsafe ◄──────    hands every outcome back, takes the next batch

While the device is busy work piles up, so batches grow with the load by themselves. A batch that fails is halved until
the item that poisons it stands alone; out of memory also halves the budget.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from plaudit.reward.errors import DeadlineExpired, DeviceFailed, RequestError
from plaudit.reward.items import Deadline

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Hashable)
WINDOW = 512
"""How many of the oldest entries are sorted by cost for one batch."""


class OutOfMemory(Exception):
    """Raised by `run` when the batch was too large for the device."""


class Observer(Protocol):
    """Told of every batch; called on the device thread."""

    def __call__(self, items: int, cost: float, padded_cost: float, seconds: float) -> None: ...


class Ran(NamedTuple):
    """What became of one piece of work, and where its time went, in seconds."""

    value: float | RequestError
    queued: float = 0.0
    forward: float = 0.0


@dataclass(eq=False)
class _Entry(Generic[P]):
    payload: P
    cost: float
    deadline: Deadline
    future: asyncio.Future[Ran]
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[P]):
    """Runs `run(payloads) -> values` on one thread, in batches of at most `max_cost` (longest cost times items)."""

    def __init__(
        self,
        name: str,
        run: Callable[[list[P]], list[float]],
        *,
        max_cost: float,
        max_items: int | None = None,
        observe: Observer | None = None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._run, self._max_cost, self._max_items = run, max_cost, max_items
        self._observe, self._loop = observe, loop
        self._waiting: list[_Entry[P]] = []
        self._changed = threading.Condition()
        self._open = True
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=f"device-{name}", daemon=True)
        self._thread.start()

    async def submit(self, payloads: Sequence[P], costs: Sequence[float], deadline: Deadline) -> list[Ran]:
        """One result per payload, in order. Cancelling takes what has not begun out of the queue."""
        entries = [
            _Entry(payload, cost, deadline, self._loop.create_future())
            for payload, cost in zip(payloads, costs, strict=True)
        ]
        with self._changed:
            self._waiting.extend(entries)
            self._changed.notify()
        try:
            return [await entry.future for entry in entries]
        except asyncio.CancelledError:
            self._withdraw(entries)
            raise

    def beating(self, patience: float) -> bool:
        """False when the thread has been in one place for `patience` seconds, or is gone."""
        return self._thread.is_alive() and time.monotonic() - self._beat < patience

    def close(self) -> None:
        """Ends the thread once its batch is done; the caller has seen to it that nothing waits."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(timeout=5)

    def _withdraw(self, entries: list[_Entry[P]]) -> None:
        for entry in entries:
            entry.future.cancel()
        with self._changed:
            self._remove(entries)

    # ---- on the device thread ----

    def _work(self) -> None:
        while self._open:
            self._beat = time.monotonic()
            with self._changed:
                if not self._waiting:
                    self._changed.wait(timeout=0.5)
                batch = self._take()
            if batch:
                self._serve(batch)

    def _take(self) -> list[_Entry[P]]:
        """The next batch, out of the queue; expired work is answered on the way. Holds the lock."""
        expired = [entry for entry in self._waiting if entry.deadline.passed()]
        if expired:
            self._remove(expired)
            self._deliver([(entry, Ran(DeadlineExpired(), time.monotonic() - entry.since)) for entry in expired])
        chosen = choose([(e.payload, e.cost) for e in self._waiting[:WINDOW]], self._max_cost, self._max_items)
        batch = [self._waiting[index] for index in chosen]
        self._remove(batch)
        return batch

    def _remove(self, entries: list[_Entry[P]]) -> None:
        """Out of the queue; the caller holds the lock."""
        gone = set(map(id, entries))
        self._waiting = [entry for entry in self._waiting if id(entry) not in gone]

    def _serve(self, batch: list[_Entry[P]]) -> None:
        costs = {entry.payload: entry.cost for entry in batch}
        began = time.monotonic()
        values = self._attempt(list(costs))
        seconds = time.monotonic() - began
        self._deliver([(e, Ran(values[e.payload], began - e.since, seconds)) for e in batch])
        if self._observe is not None:
            self._observe(len(batch), sum(costs.values()), max(costs.values()) * len(costs), seconds)

    def _attempt(self, payloads: list[P]) -> dict[P, float | RequestError]:
        """Values by payload; what fails is tried again in halves."""
        self._beat = time.monotonic()
        try:
            return dict(zip(payloads, self._run(payloads), strict=True))
        except OutOfMemory:
            self._max_cost /= 2
            log.warning("out of device memory, budget halved", extra={"budget": self._max_cost})
        except Exception:
            if len(payloads) == 1:
                log.exception("an item failed on the device")
        if len(payloads) == 1:
            return {payloads[0]: DeviceFailed("the model failed on this input")}
        middle = len(payloads) // 2
        return self._attempt(payloads[:middle]) | self._attempt(payloads[middle:])

    def _deliver(self, results: list[tuple[_Entry[P], Ran]]) -> None:
        def settle() -> None:
            for entry, ran in results:
                if not entry.future.done():
                    entry.future.set_result(ran)

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)


def choose(waiting: Sequence[tuple[Hashable, float]], max_cost: float, max_items: int | None) -> list[int]:
    """Indices of the next batch out of (payload, cost) in order of arrival.

    The first one always goes, alone if it must; then the others by nearness of cost, while the longest cost times the
    number of distinct payloads stays within `max_cost`. Duplicates ride along for nothing.
    """
    if not waiting:
        return []
    oldest, longest = waiting[0]
    chosen, distinct = [0], {oldest}
    for index in sorted(range(1, len(waiting)), key=lambda index: abs(waiting[index][1] - waiting[0][1])):
        payload, cost = waiting[index]
        size = len(distinct) + (payload not in distinct)
        if max(longest, cost) * size <= max_cost and (max_items is None or size <= max_items):
            chosen.append(index)
            distinct.add(payload)
            longest = max(longest, cost)
    return chosen
