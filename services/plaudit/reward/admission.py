"""How much may wait: callers above it are told at once to come back, before anything is computed for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from plaudit.reward.errors import DeadlineUnreachable, QueueFull
from plaudit.reward.items import Deadline

MARGIN = 1.2
"""How much longer than estimated the queue may take: an answer that comes after its deadline was work for nothing."""
MEMORY = 0.9
"""Weight of what was measured before, against the newest batch."""


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
        self._measured_cost = self._measured_seconds = 0.0  # of the newest batches most

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
            # Sums of floats drift: an empty queue is exactly nothing.
            self.cost = self.cost - place.cost if self.items else 0.0

    def correct(self, place: Place, cost: float) -> None:
        """Replaces the estimate by what was counted."""
        self.cost += cost - place.cost
        place.cost = cost

    def measured(self, cost: float, seconds: float) -> None:
        """Work of `cost` took the whole device `seconds`, while more was waiting: alone it says little of the rate."""
        self._measured_cost = MEMORY * self._measured_cost + cost
        self._measured_seconds = MEMORY * self._measured_seconds + seconds

    def drain_seconds(self) -> float:
        """How long the work admitted so far takes at the measured rate; 0 before the first measurement."""
        return self._seconds_of(self.cost)

    def _seconds_of(self, cost: float) -> float:
        return cost * self._measured_seconds / self._measured_cost if self._measured_cost else 0.0

    def _refuse(self, items: int, cost: float, deadline: Deadline) -> None:
        if self.items and (self.items + items > self._max_items or self.cost + cost > self._max_cost):
            raise QueueFull(self._retry_after())
        left = deadline.left()
        if self.items and left is not None and MARGIN * self._seconds_of(self.cost + cost) > left:
            raise DeadlineUnreachable(self._retry_after())

    def _retry_after(self) -> float:
        """Half the queue's time, between 50 ms and 5 s."""
        return min(5.0, max(0.05, self.drain_seconds() / 2))
