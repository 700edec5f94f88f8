"""What has been seen of a run or of a reward server: numbers from two looks, and how they went."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from plaudit.top.page import Page, quantile

STEPS = 20
"""A run's rates are those of so many steps, where so many were seen."""
RECENT_SECONDS = 30.0
"""A reward server's are of so long."""
COURSE_SECONDS = 180.0
"""How far back its curve goes."""
COURSE_STEPS = 60

PHASE = "plaudit_trainer_phase_duration_seconds"
STEP_ENDED = "plaudit_trainer_last_step_timestamp_seconds"
ITEMS = "plaudit_reward_items_total"
Course = Sequence[float | None]
"""Values at even distances, None where none is known."""


@dataclass(frozen=True)
class Stretch:
    """What one process counted in some time."""

    grown: Page
    seconds: float

    def rate(self, name: str, **labels: str) -> float | None:
        """Of a counter, per second."""
        return self.grown.value(name, **labels) / self.seconds if self.seconds > 0 else None

    def rates(self, name: str, label: str) -> dict[str, float]:
        """By a label's values; those that did not grow are left out."""
        grown = self.grown.by(name, label)
        return {value: count / self.seconds for value, count in grown.items() if count > 0 and self.seconds > 0}

    def mean(self, name: str) -> float | None:
        """Of what a histogram observed."""
        count = self.grown.value(f"{name}_count")
        return self.grown.value(f"{name}_sum") / count if count > 0 else None

    def quantile(self, q: float, name: str) -> float | None:
        """The same."""
        return quantile(q, self.grown.buckets(name))


class RunSeen:
    """Of a run, the newest look at each step. A step's metrics come all at once, at its end."""

    def __init__(self) -> None:
        self._ends: deque[tuple[int, Page]] = deque(maxlen=COURSE_STEPS)
        self._process = 0  # that the newest look was at, counted from 0

    def look(self, page: Page) -> None:
        """The page as it is now."""
        if self._ends and page.began_anew(self._ends[-1][1]):
            self._process += 1
        ended = page.value(STEP_ENDED)
        if not ended:  # this process has done no step
            return
        if self._ends and self._ends[-1][1].value(STEP_ENDED) == ended:  # may have been read while it was written
            self._ends.pop()
        self._ends.append((self._process, page))

    @property
    def stretch(self) -> Stretch:
        """The last steps seen; after the first one all that the process did, without what lies between its steps."""
        if not self._ends:
            return Stretch(Page(), 0.0)
        pages = [page for process, page in self._ends if process == self._ends[-1][0]][-STEPS - 1 :]
        first, last = pages[0], pages[-1]
        if first is last:
            return Stretch(last, last.value(f"{PHASE}_sum"))
        return Stretch(last.since(first), last.value(STEP_ENDED) - first.value(STEP_ENDED))

    def course(self, name: str, width: int) -> Course:
        """Of a metric, at the last steps seen."""
        return [page.value(name) for _, page in self._ends][-width:]


class ServerSeen:
    """Of a reward server."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Page]] = deque()
        self._items: deque[tuple[float, float]] = deque()  # (when, all so far): goes on where the server begins anew

    def look(self, at: float, page: Page) -> None:
        """The page as it is at `at`, seconds on a clock that never goes back."""
        now = page.value(ITEMS)
        if not self._looks:
            self._items.append((at, 0.0))
        elif page.began_anew(self._looks[-1][1]):
            self._looks.clear()
            self._items.append((at, self._items[-1][1] + now))
        else:
            self._items.append((at, self._items[-1][1] + now - self._looks[-1][1].value(ITEMS)))
        self._looks.append((at, page))
        for looks, kept in ((self._looks, RECENT_SECONDS), (self._items, COURSE_SECONDS)):
            while len(looks) > 2 and looks[1][0] <= at - kept:
                looks.popleft()

    @property
    def stretch(self) -> Stretch:
        """The last `RECENT_SECONDS`."""
        if not self._looks:
            return Stretch(Page(), 0.0)
        (began, first), (ended, last) = self._looks[0], self._looks[-1]
        return Stretch(last.since(first), ended - began)

    def course(self, width: int) -> Course:
        """Items/s over the last `COURSE_SECONDS`, in `width` even parts."""
        if len(self._items) < 2:
            return []
        end, part = self._items[-1][0], COURSE_SECONDS / width
        edges = [self._total(end - part * (width - index)) for index in range(width + 1)]
        return [
            None if before is None or after is None else (after - before) / part for before, after in pairwise(edges)
        ]

    def _total(self, at: float) -> float | None:
        """Items up to `at`, evenly spread between two looks; None before the first."""
        for (began, before), (ended, after) in pairwise(self._items):
            if began <= at <= ended:
                return before + (after - before) * (at - began) / (ended - began) if ended > began else after
        return None
