"""Who is next when several clients wait: start-time fair queueing (Goyal, Vin and Cheng, 1996).

    A floods          a1  a2  a3  a4  a5 ...       each costs 1
    B asks once                   b1               while a1 is under way
    served            a1  b1  a2  a3  a4  a5 ...

A client's turn comes at a virtual time: when what it was served before has been paid for, and not before it came. Now
is the time of whoever was served last. So a client that floods puts off its own turns and nobody else's. Of two that
both wait all the time neither is ahead by more than the largest entry of each; one alone is first come, first served,
at the cost of a plain queue.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What is queued."""

    cost: float

    @property
    def client(self) -> str:
        """Whose turn it takes."""
        ...


E = TypeVar("E", bound=Waiting)
KEPT = 1024
"""Clients that are remembered though nothing of theirs waits; one that was forgotten has a turn at once."""


class _Line(Generic[E]):
    """One client's entries, in the order in which they came."""

    __slots__ = ("entries", "number", "start")

    def __init__(self) -> None:
        self.entries: deque[E] = deque()
        self.start = 0.0  # virtual time of its next turn
        self.number = 0  # of when it came: between equals, who came first


class FairQueue(Generic[E]):
    """Not safe for several threads: whoever has several holds a lock."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line[E]] = {}
        self._now, self._came, self._size, self._most = 0.0, 0, 0, KEPT

    def __len__(self) -> int:
        return self._size

    def put(self, client: str, entries: Sequence[E]) -> None:
        """After all that `client` has put before."""
        line = self._lines.get(client) or self._new(client)
        if not line.entries:
            self._came += 1
            line.start, line.number = max(self._now, line.start), self._came
        line.entries.extend(entries)
        self._size += len(entries)

    def take(self, most: int) -> list[E]:
        """The next ones, at most so many, as if all of them were served; what is not is put, or given, back."""
        lines = [line for line in self._lines.values() if line.entries]
        if not lines:
            return []
        self._now = max(self._now, min(line.start for line in lines))
        found = self._from_one(lines[0], most) if len(lines) == 1 else self._from_several(lines, most)
        self._size -= len(found)
        return found

    def put_back(self, entries: Iterable[E]) -> None:
        """Taken, in this order, and not served now: they are the next of their clients again."""
        for entry in reversed(list(entries)):
            line = self._lines.get(entry.client) or self._new(entry.client)
            line.entries.appendleft(entry)
            line.start -= entry.cost
            self._size += 1

    def give_back(self, entries: Iterable[E]) -> None:
        """Taken and never to be served: they took nobody's turn."""
        for entry in entries:
            if line := self._lines.get(entry.client):
                line.start -= entry.cost

    def rest(self) -> None:
        """Nobody waits and nothing runs: nobody is ahead of anybody."""
        if not self._size:
            self._now, self._lines = 0.0, {}

    def _from_one(self, line: _Line[E], most: int) -> list[E]:
        found = [line.entries.popleft() for _ in range(min(most, len(line.entries)))]
        line.start += sum([entry.cost for entry in found])
        return found

    def _from_several(self, lines: list[_Line[E]], most: int) -> list[E]:
        turns = [(line.start, line.number, line) for line in lines]
        heapq.heapify(turns)
        found: list[E] = []
        while turns and len(found) < most:
            _, number, line = turns[0]
            entry = line.entries.popleft()
            line.start += entry.cost
            found.append(entry)
            if line.entries:
                heapq.heapreplace(turns, (line.start, number, line))
            else:
                heapq.heappop(turns)
        return found

    def _new(self, client: str) -> _Line[E]:
        if len(self._lines) >= self._most:
            self._lines = {name: line for name, line in self._lines.items() if line.entries}
            self._most = max(KEPT, 2 * len(self._lines))
        line = self._lines[client] = _Line[E]()
        return line
