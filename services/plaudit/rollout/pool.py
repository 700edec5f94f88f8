"""The rollout pool: Ray actors that generate, of which any may die at any moment.

    callers (any thread)         the pool's thread: an event loop            workers (one process each, one call each)
    --------------------         ----------------------------------          -----------------------------------------
    generate, submit      ->     Dispatch: groups that wait
                                 a coroutine per place (Slot):
                                     start a worker                   ->     builds its engine
    set_weights           ->         newer weights first              ->     loads straight from shared memory
     (ray.put, once)                 then a group                     ->     generates it, stamps the version
    trajectories          <-         who died or is overdue gives     <-     those that ended
                                     its group back, and is replaced

A worker with old weights gets the newest before its next group: what is asked for after `set_weights` has returned is
generated with those weights or newer ones.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import ray

from plaudit.errors import PlauditError, RunFailed
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.dispatch import Delivered, Dispatch, Event, Failed, Order, Run, SetAside
from plaudit.rollout.engine import TRANSFORMERS
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.slot import ALIVE, Slot, SlotState, WorkerLost
from plaudit.rollout.worker import ON_DISK
from plaudit.telemetry import tracing
from plaudit.telemetry.tracing import RunTracingSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, Trajectory, Weights

LOOK_SECONDS = 0.5
REPORT_EVERY_S = 0.2
"""How often a worker says what has ended, where somebody can use it at once."""
LONGEST_REST_S = 60.0
"""Between two attempts at starting a worker."""

ANSWER_S = 2.0
"""For a question from outside: less than those wait who look at a page of metrics."""
CLOSE_S = 20.0
"""For the workers' last spans and their end."""

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with (responses there, responses in all)."""

logger = logging.getLogger(__name__)


class PoolBusy(RunFailed):
    """The pool's thread is held up, as by a call to a cluster whose head is away."""


@dataclass(slots=True)
class PoolCounts:
    """For metrics. The lower ones over the pool's life."""

    workers: Counter[str] = field(default_factory=Counter)  # by `SlotState`
    wanted: int = 0  # workers
    waiting: int = 0  # requests that nobody is at
    oldest_version: int = ON_DISK  # of the weights of any worker that is up
    set_aside: int = 0  # prompts
    syncs: int = 0  # versions that all workers that were up have loaded
    sync_s: float = 0.0  # that it took from `set_weights`, summed over those
    busy_s: float = 0.0  # that workers spent generating
    restarts: int = 0  # workers replaced
    redispatched_lost: int = 0  # groups that went out again because their worker was lost
    redispatched_slow: int = 0  # ... because it was slow
    duplicates: int = 0  # trajectories that somebody else had brought before

    @property
    def alive(self) -> int:
        """Workers that are up."""
        return sum(self.workers[state] for state in ALIVE)


class RayRolloutPool:
    """Implements `trainer.roles.RolloutPool`. Needs Ray to be there already (`cluster.start_ray`).

    Workers start in the background; what goes wrong with that is raised by `generate` and `submit`. Before the first
    `set_weights` they generate with the weights on disk, as version -1.
    """

    def __init__(
        self,
        settings: RolloutSettings,
        policy: PolicySettings,
        *,
        engine: str = TRANSFORMERS,
        on_progress: Progress | None = None,
        traced: RunTracingSettings | None = None,
    ) -> None:
        self._settings, self._policy, self._engine, self._traced = settings, policy, engine, traced
        self.on_progress = on_progress
        self.on_wait: Callable[[], None] = lambda: None  # called twice a second; what it raises ends the waiting
        self._dispatch = Dispatch(settings)
        self._version = ON_DISK
        self._weights: ray.ObjectRef[Any] | None = None  # None: those on disk
        self._published: float | None = None  # when, as long as not all workers have loaded them
        self._syncs, self._sync_s = 0, 0.0
        self._restarts, self._busy_s = 0, 0.0
        self._began: dict[Slot, float] = {}  # with the group that each is at
        self._last_loss = "none could start"
        self._failure: PlauditError | None = None  # of an engine, while nobody waited
        self._slots: dict[Slot, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()  # whoever waits for it looks again; set once, then replaced
        self._thread = threading.Thread(target=self._loop.run_forever, name="rollout-pool", daemon=True)
        self._thread.start()
        self._there(self._resize, settings.workers)

    # -- asked by callers -------------------------------------------------------------------------------------------

    @property
    def counts(self) -> PoolCounts:
        """A snapshot. Raises PoolBusy."""
        return self._there(self._count, within_s=ANSWER_S)

    @property
    def set_aside(self) -> list[Prompt]:
        """Prompts that are not generated for any more: alone, they killed worker after worker."""
        return list(self._dispatch.set_aside)

    def leave_out(self, prompts: Iterable[Prompt]) -> None:
        """Sets aside what killed workers before, in another process."""
        known = dict.fromkeys(prompts, "in an earlier process")
        self._there(self._dispatch.set_aside.update, known)

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that are up."""
        return self._there(lambda: [slot.pid for slot in self._slots if slot.alive])

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling) -> list[Trajectory]:
        """One trajectory per request, in order, without those of prompts that are set aside.

        Whatever was submitted waits meanwhile. Raises RunFailed when every worker is lost, or an engine fails.
        """
        inbox: SimpleQueue[Event] = SimpleQueue()
        order = Order(requests, sampling, inbox.put, fixed=True, traceparent=tracing.traceparent())
        there: dict[str, Trajectory] = {}
        gone = 0
        self._there(self._add, order, first=True)
        try:
            while len(there) + gone < len(requests):
                match self._next(inbox):
                    case Delivered(trajectories):
                        there.update((one.request.id, one) for one in trajectories)
                    case SetAside(lost):
                        gone += len(lost)
                    case Failed(error):
                        raise error
                if self.on_progress is not None:
                    self.on_progress(len(there) + gone, len(requests))
        finally:
            self._loop.call_soon_threadsafe(self._dispatch.cancel, order)
        return [there[request.id] for request in requests if request.id in there]

    def submit(self, requests: Sequence[RolloutRequest], sampling: Sampling, on_event: Callable[[Event], None]) -> None:
        """Returns at once; `on_event`, called by the pool's thread, is told of each trajectory soon after it ended.

        Other than those of `generate` these may depend on who died, and each has a version of its own.
        """
        order = Order(requests, sampling, on_event, fixed=False, traceparent=tracing.traceparent())
        self._there(self._add, order)

    def set_weights(self, version: int, weights: Weights) -> None:
        """Every worker takes these weights before its next group, an idle one at once. Versions only rise."""
        self._there(self._publish, version, ray.put(weights))

    def resize(self, workers: int) -> None:
        """New workers get the newest weights before they generate; one that leaves ends its group first.

        Raises PoolBusy: it is done then as soon as the pool can.
        """
        self._there(self._resize, workers, within_s=ANSWER_S)

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        if wait([ending], CLOSE_S).not_done:  # as while the cluster's head is away: the workers end with this process
            logger.warning("the rollout pool did not end within %g s and is left behind", CLOSE_S)
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.call_soon(self._loop.stop)  # whoever asked for something meanwhile gets an answer
        self._loop.run_forever()
        self._loop.close()

    def _there(self, do: Callable[..., T], *arguments: Any, within_s: float | None = None, **named: Any) -> T:
        """The result of something done by the pool's thread, to which everything below belongs. Raises PoolBusy."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(do(*arguments, **named))
            except Exception as error:
                future.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        if wait([future], within_s).not_done:
            raise PoolBusy(f"the rollout pool has not answered for {within_s:g} s: is the Ray cluster's head away?")
        return future.result()

    def _next(self, inbox: SimpleQueue[Event]) -> Event:
        while True:
            self.on_wait()
            with suppress(Empty):
                return inbox.get(timeout=LOOK_SECONDS)

    # -- done by the pool's thread ----------------------------------------------------------------------------------

    def _add(self, order: Order, *, first: bool = False) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if all(slot.hopeless for slot in self._slots):
            raise RunFailed(self._all_lost())
        self._dispatch.add(order, first=first)
        self._notify()

    def _publish(self, version: int, weights: Any) -> None:
        if version <= self._version:
            raise ValueError(f"weights of version {version} come after those of version {self._version}")
        self._version, self._weights = version, weights
        self._published = time.monotonic() if any(slot.alive for slot in self._slots) else None
        self._notify()

    def _resize(self, workers: int) -> None:
        staying = [slot for slot in self._slots if not slot.leaving]
        idlest_first = sorted(staying, key=lambda slot: (slot.alive, slot.state is SlotState.GENERATING))
        for slot in idlest_first[: max(0, len(staying) - workers)]:
            slot.leaving = True
            if slot.state is not SlotState.GENERATING:
                self._slots[slot].cancel()
        for _ in range(workers - len(staying)):
            slot = Slot(self._settings, self._traced)
            self._slots[slot] = self._loop.create_task(self._fill(slot))
            self._slots[slot].add_done_callback(partial(self._left, slot))
        self._notify()

    async def _fill(self, slot: Slot) -> None:
        """One place in the pool, from its first worker to the end of the last."""
        try:
            while not slot.leaving:
                try:
                    await self._employ(slot)
                except (WorkerLost, PlauditError) as error:
                    slot.dismiss()
                    self._note(slot, error)
                    await asyncio.sleep(_rest(slot.failed_starts))
        finally:
            slot.dismiss()

    def _left(self, slot: Slot, task: asyncio.Task[None]) -> None:
        """The place is no more."""
        del self._slots[slot]
        if not task.cancelled() and (error := task.exception()) is not None:  # a mistake in this file
            logger.error("a place of the rollout pool ended by a mistake", exc_info=error)
            self._fail(RunFailed(f"the rollout pool failed ({type(error).__name__}: {error})"))

    async def _employ(self, slot: Slot) -> None:
        """One worker, until it is lost or not wanted any more."""
        await slot.start(self._engine, self._policy, version=self._version, weights=self._weights)
        self._synced()
        while not slot.leaving:
            if slot.version < self._version:
                await slot.load(self._version, self._weights)
                self._synced()
            elif run := self._dispatch.take(slot, time.monotonic()):
                await self._generate(slot, run)
            else:
                await self._change(self._dispatch.next_due())

    async def _generate(self, slot: Slot, run: Run) -> None:
        every = float("inf") if run.group.order.fixed else REPORT_EVERY_S
        self._began[slot] = time.monotonic()
        try:
            await slot.generate(run, every, partial(self._dispatch.deliver, run))
        except WorkerLost as loss:
            self._dispatch.lost(run, str(loss))
            raise
        except PlauditError as error:  # the engine's own
            needed = run.group.needed
            self._dispatch.ended(run, time.monotonic())
            if needed:
                raise
            raise WorkerLost(str(error)) from None  # another worker was quicker, and had no such trouble
        else:
            self._dispatch.ended(run, time.monotonic())
        finally:
            self._busy_s += time.monotonic() - self._began.pop(slot)
            self._notify()

    def _note(self, slot: Slot, error: WorkerLost | PlauditError) -> None:
        """A worker is gone."""
        self._restarts += 1
        self._last_loss = str(error)
        self._synced()
        limit = 4 * self._settings.max_attempts * len(self._slots) + 1
        if isinstance(error, PlauditError):
            self._fail(error)
        elif all(one.hopeless for one in self._slots):
            self._dispatch.fail(RunFailed(self._all_lost()))
        elif self._dispatch.lost_in_a_row >= limit:
            lost, self._dispatch.lost_in_a_row = self._dispatch.lost_in_a_row, 0
            self._dispatch.fail(RunFailed(f"{lost} rollout workers in a row died at generating (the last: {error})"))
        logger.warning("a rollout worker is lost (%s)", error)

    def _fail(self, error: PlauditError) -> None:
        """Tells whoever waits, else whoever asks next."""
        if not self._dispatch.busy:
            self._failure = error
        self._dispatch.fail(error)

    def _synced(self) -> None:
        """If all that are up have the newest weights now, it is known how long that took."""
        versions = {slot.version for slot in self._slots if slot.alive}
        if self._published is None or versions != {self._version}:
            return
        self._syncs, self._sync_s = self._syncs + 1, self._sync_s + time.monotonic() - self._published
        self._published = None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self, until: float | None) -> None:
        """Until something has changed, or that time has come."""
        left = None if until is None else max(0.0, until - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._changed.wait()

    async def _end(self) -> None:
        for slot in self._slots:
            slot.leaving = True  # nobody begins anything
        await asyncio.gather(*(slot.flush() for slot in self._slots), return_exceptions=True)
        tasks = list(self._slots.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._weights = None

    def _count(self) -> PoolCounts:
        staying, now = [slot for slot in self._slots if not slot.leaving], time.monotonic()
        return PoolCounts(
            workers=Counter(slot.state.value for slot in self._slots),
            wanted=len(staying),
            waiting=self._dispatch.waiting,
            oldest_version=min((slot.version for slot in self._slots if slot.alive), default=ON_DISK),
            set_aside=len(self._dispatch.set_aside),
            syncs=self._syncs,
            sync_s=self._sync_s,
            busy_s=self._busy_s + sum(now - began for began in self._began.values()),
            restarts=self._restarts,
            redispatched_lost=self._dispatch.redispatched_lost,
            redispatched_slow=self._dispatch.redispatched_slow,
            duplicates=self._dispatch.duplicates,
        )

    def _all_lost(self) -> str:
        has, here = ray.cluster_resources(), ray.get_runtime_context()  # type: ignore[no-untyped-call]
        asks = f"{self._settings.cpus_per_worker:g} CPUs, the Ray cluster has {has.get('CPU', 0):g}"
        if self._settings.gpus_per_worker:
            asks += f", and for {self._settings.gpus_per_worker:g} GPUs, it has {has.get('GPU', 0):g}"
        return (
            f"every rollout worker is lost (the last one at {self._last_loss}): each of {len(self._slots)} asks for "
            f"{asks}; one that only starts slowly needs a larger rollout.start_timeout_s; a worker's own log is in "
            f"{here.get_temp_dir()}/{here.get_session_name()}/logs of the node that it ran on"
        )


def _rest(failed_starts: int) -> float:
    """Seconds before the next attempt: none after a worker that had started."""
    return min(LONGEST_REST_S, 0.25 * 2 ** min(failed_starts, 8)) if failed_starts else 0.0
