"""The rollout pool's Prometheus metrics, as it is when somebody looks at them."""

import math
from collections.abc import Callable, Iterable
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from plaudit.errors import RunFailed
from plaudit.rollout.pool import PoolCounts
from plaudit.rollout.slot import SlotState
from plaudit.trainer.instruments import DURATION_BUCKETS, Growth


class PoolMetrics(Collector):
    """Collects nothing itself: it is asked first, and sets the metrics below, which are asked after it."""

    def __init__(self, registry: CollectorRegistry, pool: Callable[[], PoolCounts]) -> None:
        """`pool` is asked at each look at the registry, in the thread that looks; it may raise RunFailed."""
        self._pool, self._growth = pool, Growth()
        registry.register(self)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"plaudit_rollout_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"plaudit_rollout_{name}", text, labels, registry=registry)

        self._workers = gauge("workers", "Rollout workers.", "state")
        self._restarts = counter("worker_restarts", "Workers replaced since the start.")
        self._redispatched = counter("redispatched", "Groups of prompts that went out again.", "reason")
        self._duplicates = counter("duplicates_dropped", "Trajectories that came twice.")
        self._busy = counter("busy_seconds", "Time workers spent generating, over all of them.")
        self._queue = gauge("queue_prompts", "Requests no worker is at.")
        self._set_aside = gauge("set_aside_prompts", "Prompts left out: they kill workers.")
        self._version = gauge("policy_version", "Weight version the workers sample with.")
        self._weight_sync = Histogram(
            "plaudit_trainer_weight_sync_seconds",
            "New weights to every worker.",
            registry=registry,
            buckets=DURATION_BUCKETS,
        )

    def collect(self) -> Iterable[Metric]:
        """Nothing."""
        with suppress(RunFailed):  # not there yet, not any more, or busy: what was seen last stays
            self._observe(self._pool())
        return ()

    def _observe(self, pool: PoolCounts) -> None:
        for state in SlotState:
            self._workers.labels(state.value).set(pool.workers[state])
        self._restarts.inc(self._growth.of("restarts", pool.restarts))
        self._redispatched.labels("worker_lost").inc(self._growth.of("lost", pool.redispatched_lost))
        self._redispatched.labels("worker_slow").inc(self._growth.of("slow", pool.redispatched_slow))
        self._duplicates.inc(self._growth.of("duplicates", pool.duplicates))
        self._busy.inc(self._growth.of("busy", pool.busy_s))
        self._queue.set(pool.waiting)
        self._set_aside.set(pool.set_aside)
        self._version.set(pool.oldest_version if pool.alive else math.nan)
        if syncs := int(self._growth.of("syncs", pool.syncs)):
            seconds = self._growth.of("sync_s", pool.sync_s) / syncs
            for _ in range(syncs):
                self._weight_sync.observe(seconds)
