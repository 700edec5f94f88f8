"""A model or a rule behind a queue and a device thread: what happens to a call's items, in order.

admit   on bytes times the running tokens-per-byte, before anything is computed
render  to token ids (rules: to text)
queue   in the batcher, which drops what is cancelled or past its deadline
score   one forward pass for many callers' items
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from plaudit.reward.admission import Admission
from plaudit.reward.batcher import Batcher, Ran
from plaudit.reward.calibration import Calibration
from plaudit.reward.errors import DeadlineExpired, RequestError
from plaudit.reward.items import Answer, Card, Deadline, Durations, Item, Outcome, finite
from plaudit.reward.metrics import Metrics
from plaudit.reward.settings import LimitSettings

P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Ready(Generic[P]):
    """One item as the device takes it; `cost` in tokens."""

    payload: P
    cost: int
    input_tokens: int = 0
    truncated_tokens: int = 0


class QueuedModel(Generic[P]):
    """A Served whose scores come from one device thread."""

    def __init__(
        self,
        card: Card,
        prepare: Callable[[Sequence[Item]], Awaitable[list[Ready[P] | RequestError]]],
        run: Callable[[list[P]], list[float]],
        *,
        limits: LimitSettings,
        metrics: Metrics,
        calibration: Calibration | None = None,
        one_by_one: bool = False,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.card = card
        self.admission = Admission(limits.max_queue_items, limits.max_queue_tokens)
        self._prepare, self._calibration, self._metrics, self._on_close = prepare, calibration, metrics, on_close
        self.tokens_per_byte = 0.3
        self._loop = asyncio.get_running_loop()
        self._batcher = Batcher(
            card.name,
            run,
            max_cost=limits.max_batch_tokens,
            max_items=1 if one_by_one else None,
            observe=self._batch_ran,
            loop=self._loop,
        )

    async def score(self, items: Sequence[Item], deadline: Deadline) -> Answer:
        """See Served.score."""
        size = sum(item.size for item in items)
        with self.admission.admit(len(items), size * self.tokens_per_byte, deadline) as place:
            began = time.monotonic()
            prepared = await self._prepare(items)
            tokenized = time.monotonic() - began
            ready = [one for one in prepared if isinstance(one, Ready)]
            self.admission.correct(place, sum(one.cost for one in ready))
            self._learn_ratio(size, sum(one.cost for one in ready))
            ran = await self._batcher.submit([r.payload for r in ready], [r.cost for r in ready], deadline)
        if any(isinstance(one.value, DeadlineExpired) for one in ran):
            self._metrics.expired.labels("queue").inc(sum(isinstance(one.value, DeadlineExpired) for one in ran))
            raise DeadlineExpired("the deadline passed while the items were queued")
        return self._answer(prepared, ran, tokenized)

    def beating(self, patience: float) -> bool:
        """See Served.beating."""
        return self._batcher.beating(patience)

    def close(self) -> None:
        """See Served.close."""
        self._batcher.close()
        self._on_close()

    def _answer(self, prepared: list[Ready[P] | RequestError], ran: list[Ran], tokenized: float) -> Answer:
        results = iter(ran)
        outcomes = [self._outcome(one, next(results)) if isinstance(one, Ready) else one for one in prepared]
        queued = max((one.queued for one in ran), default=0.0)
        forward = max((one.forward for one in ran), default=0.0)
        return Answer(outcomes, Durations(tokenized, queued, forward))

    def _outcome(self, ready: Ready[P], ran: Ran) -> Outcome:
        if isinstance(ran.value, RequestError):
            return ran.value
        score = self._calibration.apply(ran.value) if self._calibration else ran.value
        return finite(score, ran.value, ready.input_tokens, ready.truncated_tokens)

    def _learn_ratio(self, size: int, cost: int) -> None:
        """Keeps the running tokens-per-byte that admission estimates with."""
        if size:
            self.tokens_per_byte += 0.05 * (cost / size - self.tokens_per_byte)

    def _batch_ran(self, items: int, cost: float, padded_cost: float, seconds: float) -> None:
        """On the device thread: hands the figures to the loop, where the counters live."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.admission.measured, cost, seconds)
        self._metrics.batch(items, cost, padded_cost)
