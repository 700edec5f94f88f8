"""A model or a rule behind a queue and a device thread: what happens to a call's items, in order.

admit   on bytes times the running tokens-per-byte, before anything is computed
render  to token ids (rules: to text)
recall  what the cache still has
queue   in the batcher, which drops what is cancelled or past its deadline
score   one forward pass for many callers' items
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from plaudit.reward.admission import Admission
from plaudit.reward.batcher import Batch, Batcher, Budget
from plaudit.reward.cache import Cache
from plaudit.reward.errors import DeadlineExpired, DeviceLost, RequestError
from plaudit.reward.gate.callers import caller
from plaudit.reward.items import Answer, Card, Deadline, Durations, Item, Outcome
from plaudit.reward.metrics import Metrics
from plaudit.reward.rendering import Rendered
from plaudit.reward.settings import LimitSettings

P = TypeVar("P", bound=Hashable)
V = TypeVar("V")
UNREAD = Rendered([], 0)
FADING = 0.95
"""Weight of the calls before, against the newest one, in the running tokens-per-byte."""


class Ready(NamedTuple, Generic[P]):
    """One item as the device takes it; `cost` in tokens."""

    payload: P
    cost: int
    rendered: Rendered = UNREAD  # for what reads tokens


class Work(NamedTuple, Generic[P, V]):
    """What a model does with its items: the three steps that differ between models."""

    prepare: Callable[[Sequence[Item]], Awaitable[list[Ready[P] | RequestError]]]
    run: Callable[[list[P]], list[V]]  # on the device thread; raises OutOfMemory, DeviceLost, or what it will
    conclude: Callable[[Ready[P], V, bool], Outcome]  # told whether the value is the cache's


class QueuedModel(Generic[P, V]):
    """A Served whose scores come from one device thread."""

    def __init__(
        self,
        card: Card,
        work: Work[P, V],
        limits: LimitSettings,
        metrics: Metrics,
        *,
        budget: Budget | None = None,
        lost: Callable[[], bool] = lambda: False,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.card = card
        self.admission = Admission(limits.max_queue_items, limits.max_queue_tokens)
        self._work, self._metrics = work, metrics
        self._lost, self._on_close = lost, on_close
        self._cache: Cache[V] = Cache(limits.cache_items)
        self._seen_bytes, self._seen_tokens = 100.0, 30.0  # a guess that soon weighs nothing
        budget, loop = budget or Budget(limits.max_batch_tokens), asyncio.get_running_loop()
        if budget.seconds:  # else all that comes before the first batch has ended would be let in
            self.admission.measured(budget.cost, budget.seconds)
        self._batcher = Batcher(card.name, work.run, budget, observe=self._batch_ran, loop=loop)

    async def score(self, items: Sequence[Item], deadline: Deadline) -> Answer:
        """See Served.score."""
        estimate = sum(item.size for item in items) * self.tokens_per_byte
        client = caller.get()
        with self.admission.admit(len(items), estimate, deadline, client.id) as place:
            client.take(estimate)
            began = time.monotonic()
            prepared = await self._work.prepare(items)
            tokenized = time.monotonic() - began
            ready = [one for one in prepared if isinstance(one, Ready)]
            self._learn_ratio(items, prepared)
            values = self._recall(ready)
            fresh = [one for one, value in zip(ready, values, strict=True) if value is None]
            payloads, costs = [one.payload for one in fresh], [one.cost for one in fresh]
            self.admission.correct(place, sum(costs))
            client.correct(sum(costs) - estimate)
            self._metrics.asked(client.label, len(items), sum(costs))
            ran = await self._batcher.submit(payloads, costs, deadline, client.id)
        self._remember(fresh, ran.values)
        self._raise_for_call(ran.values)
        outcomes = self._outcomes(prepared, values, ran.values)
        return Answer(outcomes, Durations(tokenized, ran.queued, ran.forward))

    def beating(self, patience: float) -> bool:
        """See Served.beating."""
        return self._batcher.beating(patience)

    def lost(self) -> bool:
        """See Served.lost."""
        return self._lost()

    def away(self) -> bool:
        """A device is there, or lost."""
        return False

    def close(self) -> None:
        """See Served.close."""
        self._batcher.close()
        self._on_close()

    def _recall(self, ready: list[Ready[P]]) -> list[V | None]:
        """The cache's values, None where it has none."""
        if not self._cache.size:
            return [None] * len(ready)
        found = [self._cache.get(one.payload) for one in ready]
        hits = sum(value is not None for value in found)
        self._metrics.cached(hits, len(found) - hits)
        return found

    def _remember(self, fresh: list[Ready[P]], values: list[V | RequestError]) -> None:
        if self._cache.size:
            for one, value in zip(fresh, values, strict=True):
                if not isinstance(value, RequestError):
                    self._cache.put(one.payload, value)

    def _raise_for_call(self, values: list[V | RequestError]) -> None:
        """Deadline and device are the call's, so one item that missed either ends the call."""
        if any(isinstance(value, DeviceLost) for value in values):
            raise DeviceLost
        if expired := sum(isinstance(value, DeadlineExpired) for value in values):
            self._metrics.expired.labels("queue").inc(expired)
            raise DeadlineExpired("the deadline passed while the items were queued")

    def _outcomes(
        self, prepared: list[Ready[P] | RequestError], recalled: list[V | None], ran: list[V | RequestError]
    ) -> list[Outcome]:
        old, new, outcomes = iter(recalled), iter(ran), list[Outcome]()
        for one in prepared:
            if isinstance(one, RequestError):
                outcomes.append(one)
                continue
            value: V | RequestError | None = next(old)
            cached = value is not None
            value = value if value is not None else next(new)
            outcomes.append(value if isinstance(value, RequestError) else self._work.conclude(one, value, cached))
        return outcomes

    @property
    def tokens_per_byte(self) -> float:
        """What admission estimates with: of the newest items most, each by its size, and only those that rendered."""
        return self._seen_tokens / self._seen_bytes

    def _learn_ratio(self, items: Sequence[Item], prepared: Sequence[Ready[P] | RequestError]) -> None:
        sizes = [(item.size, one.cost) for item, one in zip(items, prepared, strict=True) if isinstance(one, Ready)]
        self._seen_bytes = FADING * self._seen_bytes + sum(size for size, _ in sizes)
        self._seen_tokens = FADING * self._seen_tokens + sum(cost for _, cost in sizes)

    def _batch_ran(self, batch: Batch) -> None:
        if batch.behind:
            self.admission.measured(batch.cost, batch.seconds)
        self._metrics.batch(batch.items, batch.cost, batch.padded_cost)
