"""How much may wait: callers above it are told at once to come back, before anything is computed for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from plaudit.reward.errors import DeadlineUnreachable, QueueFull
from plaudit.reward.items import Deadline


class Place:
    """A call's place in the queue: `cost` is corrected once the exact number of tokens is known."""

    def __init__(self, items: int, cost: float) -> None:
        self.items = items
        self.cost = cost


class Admission:
    """Counts what is admitted and not yet answered. Lives on the event loop, so it needs no lock."""

    def __init__(self, max_items: float, max_cost: float) -> None:
        self.items = 0
        self.cost = 0.0
        self._max_items, self._max_cost = max_items, max_cost
        self._rate = 0.0  # cost per second

    @contextmanager
    def admit(self, items: int, cost: float, deadline: Deadline) -> Iterator[Place]:
        """Holds a place for the block. Raises QueueFull or DeadlineUnreachable.

        A call that finds the queue empty is always admitted, or one that is larger than the queue would never be.
        """
        self._refuse(items, cost, deadline)
        place = Place(items, cost)
        self.items += items
        self.cost += cost
        try:
            yield place
        finally:
            self.items -= place.items
            self.cost = (
                self.cost - place.cost if self.items else 0.0
            )  # sums of floats drift, nothing is exactly nothing

    def correct(self, place: Place, cost: float) -> None:
        """Replaces the estimate by what was counted."""
        self.cost += cost - place.cost
        place.cost = cost

    def measured(self, cost: float, seconds: float) -> None:
        """One batch ran. The fastest rates count: a batch of one says little about what the device can do."""
        rate = cost / max(seconds, 1e-6)
        self._rate = max(rate, 0.95 * self._rate + 0.05 * rate)

    def drain_seconds(self) -> float:
        """How long the work admitted so far takes at the measured rate; 0 before the first measurement."""
        return self.cost / self._rate if self._rate else 0.0

    def _refuse(self, items: int, cost: float, deadline: Deadline) -> None:
        if self.items and (self.items + items > self._max_items or self.cost + cost > self._max_cost):
            raise QueueFull(self._retry_after())
        left = deadline.left()
        if left is not None and self.drain_seconds() > left:
            raise DeadlineUnreachable(self._retry_after())

    def _retry_after(self) -> float:
        """Half the queue's time, between 50 ms and 5 s."""
        return min(5.0, max(0.05, self.drain_seconds() / 2))
