"""When to try again. The one layer that retries a call: gRPC's own policy is off.

Only UNAVAILABLE is retried, which a server says when it did no work, and a call beyond the client's quota, at the time
that the server gives, as long as the caller's time allows. RetryInfo is obeyed for both, otherwise the wait grows
exponentially; both get jitter, so that callers who failed together do not come back together. The budget
keeps a fleet of clients from doubling the load of a server in trouble: retries are at most 10 % of the calls, those for
a quota not counted.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits in seconds. The caller's deadline bounds them all."""

    max_attempts: int = 8
    first_delay: float = 0.1
    max_delay: float = 5.0
    jitter: float = 0.25
    """Up to this share is added to a wait."""
    budgeted: bool = True
    """False: no budget bounds the retries. For who would end without an answer, and whose calls are few enough."""

    def delay(self, attempt: int, retry_after: float | None) -> float:
        """How long to wait after `attempt` (1, 2, ...) failed; never shorter than the server asked for."""
        grown = self.first_delay * 2 ** min(attempt - 1, 60)  # beyond a float's range after a day of tries
        wait = min(self.max_delay, grown) if retry_after is None else retry_after
        return wait * (1 + self.jitter * random.random())


PATIENT = RetryPolicy(max_attempts=10**6, max_delay=15.0, budgeted=False)
"""As long as the call has time: for a trainer, which asks again only when it is answered, and else would end."""


@dataclass(frozen=True, slots=True)
class RetryCounts:
    """What the client did so far."""

    calls: int = 0
    retries: int = 0
    refused: int = 0
    """Retries that the budget did not allow."""


class RetryBudget:
    """A token bucket, shared by all calls of a client: each call pays in 1, each retry takes out `price`.

    It starts full, so that a few retries can go before many calls were made, and gains `per_second`: to a caller who
    asks once a minute a share of the calls would mean no retries at all.
    """

    def __init__(
        self,
        price: float = 10.0,
        capacity: float = 100.0,
        per_second: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._price, self._capacity, self._per_second, self._clock = price, capacity, per_second, clock
        self._tokens, self._updated = capacity, clock()
        self._counts = RetryCounts()
        self._lock = threading.Lock()

    def pay_in(self) -> None:
        """For a call's first attempt."""
        with self._lock:
            self._refill(1.0)
            self._count(calls=1)

    def take(self, *, free: bool = False) -> bool:
        """True when one more retry may go; a free one always may, and is only counted."""
        with self._lock:
            self._refill(0.0)
            allowed = free or self._tokens >= self._price
            self._tokens -= 0.0 if free else self._price * allowed
            self._count(retries=int(allowed), refused=int(not allowed))
            return allowed

    @property
    def counts(self) -> RetryCounts:
        """So far."""
        with self._lock:
            return self._counts

    def _refill(self, extra: float) -> None:
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + extra + (now - self._updated) * self._per_second)
        self._updated = now

    def _count(self, calls: int = 0, retries: int = 0, refused: int = 0) -> None:
        old = self._counts
        self._counts = RetryCounts(old.calls + calls, old.retries + retries, old.refused + refused)
