"""How much may wait: callers above it are told at once to come back, before anything is computed for them.

A queue that one client has filled still takes from others, each up to its share: of n clients, an n-th.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from plaudit.reward.errors import DeadlineUnreachable, QueueFull
from plaudit.reward.items import Deadline

MARGIN = 1.2
"""How much longer than estimated the queue may take: an answer that comes after its deadline was work for nothing."""
LAST = 2.0
"""How much more than the queue holds there may be for the sake of clients that have less than their share."""
MEMORY = 0.9
"""Weight of what was measured before, against the newest batch."""


class Place:
    """A call's place in the queue: `cost` is corrected once the exact number of tokens is known."""

    def __init__(self, items: int, cost: float, holds: "Holding") -> None:
        self.items = items
        self.cost = cost
        self.holds = holds


class Holding:
    """What all calls of one client have in the queue."""

    def __init__(self) -> None:
        self.calls = self.items = 0
        self.cost = 0.0

    def add(self, calls: int, items: int, cost: float) -> None:
        """Less, where they are negative."""
        self.calls += calls
        self.items += items
        self.cost = self.cost + cost if self.items else 0.0  # sums of floats drift: nothing is exactly nothing


class Admission:
    """Counts what is admitted and not yet answered. Lives on the event loop, so it needs no lock."""

    def __init__(self, max_items: float, max_cost: float) -> None:
        self.items = 0
        self.cost = 0.0
        self._max_items, self._max_cost = max_items, max_cost
        self._holdings: dict[str, Holding] = {}  # of the clients that have something in it
        self._measured_cost = self._measured_seconds = 0.0  # of the newest batches most

    @contextmanager
    def admit(self, items: int, cost: float, deadline: Deadline, client: str = "") -> Iterator[Place]:
        """Holds a place for the block. Raises QueueFull or DeadlineUnreachable.

        A call that finds the queue empty is always admitted, or one that is larger than the queue would never be.
        """
        self._refuse(items, cost, deadline, self._holdings.get(client) or Holding())
        place = Place(items, cost, self._holdings.setdefault(client, Holding()))
        self._add(place, +1)
        try:
            yield place
        finally:
            self._add(place, -1)
            if not place.holds.calls:
                del self._holdings[client]

    def correct(self, place: Place, cost: float) -> None:
        """Replaces the estimate by what was counted."""
        self.cost += cost - place.cost
        place.holds.cost += cost - place.cost
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

    def _add(self, place: Place, sign: int) -> None:
        self.items += sign * place.items
        self.cost = self.cost + sign * place.cost if self.items else 0.0
        place.holds.add(sign, sign * place.items, sign * place.cost)

    def _refuse(self, items: int, cost: float, deadline: Deadline, holds: Holding) -> None:
        if not self.items:
            return
        clients = len(self._holdings) + (not holds.calls)
        if self._is_over(self.items + items, self.cost + cost, 1.0) and (
            self._is_over(holds.items + items, holds.cost + cost, 1 / clients)
            or self._is_over(self.items + items, self.cost + cost, LAST)
        ):
            raise QueueFull(self._retry_after())
        left = deadline.left()
        before = min(self.cost + cost, clients * (holds.cost + cost))  # clients take turns
        if left is not None and MARGIN * self._seconds_of(before) > left:
            raise DeadlineUnreachable(self._retry_after())

    def _is_over(self, items: int, cost: float, share: float) -> bool:
        return items > share * self._max_items or cost > share * self._max_cost

    def _retry_after(self) -> float:
        """Half the queue's time, between 50 ms and 5 s."""
        return min(5.0, max(0.05, self.drain_seconds() / 2))
