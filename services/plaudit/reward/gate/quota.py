"""How much a client may ask: a token bucket, which its calls empty and time fills again."""

import time
from collections.abc import Callable

from plaudit.reward.errors import QuotaExceeded
from plaudit.reward.gate.settings import QuotaSettings


class TokenBucket:
    """Starts full. Lives on the event loop, so it needs no lock."""

    def __init__(self, client: str, quota: QuotaSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.quota = quota
        self._client, self._clock = client, clock
        self._level, self._updated = quota.burst_tokens, clock()

    def take(self, tokens: float) -> None:
        """Raises QuotaExceeded where they are not there, with the time after which they are.

        A call of more than the bucket holds is let in when it is full, and the bucket owes the rest: refused for good,
        a client could not tell why.
        """
        self._refill()
        missing = min(tokens, self.quota.burst_tokens) - self._level
        if missing > 0:
            rate = self.quota.tokens_per_second
            raise QuotaExceeded(self._client, f"{rate:g} tokens a second", missing / rate)
        self._level -= tokens

    def correct(self, tokens: float) -> None:
        """So many more were counted than taken; fewer, where it is negative."""
        self._level = min(self.quota.burst_tokens, self._level - tokens)

    def _refill(self) -> None:
        now = self._clock()
        gained = (now - self._updated) * self.quota.tokens_per_second
        self._level, self._updated = min(self.quota.burst_tokens, self._level + gained), now
