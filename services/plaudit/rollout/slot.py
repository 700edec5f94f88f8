"""One place in the pool: the actor that fills it now, and the calls to it."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from plaudit.errors import PlauditError, RunFailed
from plaudit.rollout.dispatch import Run
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.worker import RolloutWorker
from plaudit.telemetry import tracing
from plaudit.telemetry.tracing import RunTracingSettings
from plaudit.trajectory import Trajectory

T = TypeVar("T")


class SlotState(StrEnum):
    """What its worker is at."""

    STARTING = "starting"
    LOADING = "loading"  # new weights
    IDLE = "idle"
    GENERATING = "generating"
    LOST = "lost"  # a new one is tried for later


WORKER = ray.remote(RolloutWorker)  # once: each is exported to the cluster
ALIVE = (SlotState.LOADING, SlotState.IDLE, SlotState.GENERATING)
FLUSH_TIMEOUT_S = 3.0


class WorkerLost(Exception):
    """The worker died."""


class WorkerOverdue(WorkerLost):
    """The worker took longer than allowed."""


class Slot:
    """Knows nothing of the others. Every call raises WorkerLost, or a PlauditError for what the engine raised."""

    def __init__(self, settings: RolloutSettings, traced: RunTracingSettings | None) -> None:
        self._settings, self._traced = settings, traced
        self._options = {
            "num_cpus": settings.cpus_per_worker,
            "num_gpus": settings.gpus_per_worker,
            "max_restarts": 0,  # the pool replaces a dead worker itself, with the weights it needs
            "max_task_retries": 0,
        }
        self._worker: Any = None
        self.state = SlotState.STARTING
        self.version = 0  # of the weights loaded, while alive
        self.pid = 0
        self.failed_starts = 0  # in a row
        self.no_room = False  # the last start was not even begun in time
        self.leaving = False  # the pool shrinks: what it is at is its last job

    @property
    def alive(self) -> bool:
        """Started, and not known to be dead."""
        return self.state in ALIVE

    @property
    def hopeless(self) -> bool:
        """Several workers in a row did not start."""
        return not self.alive and (self.no_room or self.failed_starts >= self._settings.max_attempts)

    async def start(self, *arguments: Any, version: int, weights: Any) -> None:
        """A fresh worker, with these weights."""
        self.state = SlotState.STARTING
        try:
            self._worker = self._hire()
            call = self._worker.start.remote(*arguments, self._settings, version, weights, self._traced)
            self.pid = await _answer(call, self._settings.start_timeout_s, "start")
        except (WorkerLost, PlauditError) as error:
            self.failed_starts += 1
            self.no_room = isinstance(error, WorkerOverdue)
            raise
        self.version, self.failed_starts, self.no_room, self.state = version, 0, False, SlotState.IDLE

    def _hire(self) -> Any:
        try:
            return WORKER.options(**self._options).remote()
        except RayError as error:
            raise WorkerLost(f"start: {type(error).__name__}") from None

    async def load(self, version: int, weights: Any) -> None:
        """Takes over newer weights."""
        self.state = SlotState.LOADING
        call = self._worker.set_weights.remote(version, weights)
        self.version = await _answer(call, self._settings.start_timeout_s, "load")
        self.state = SlotState.IDLE

    async def generate(self, run: Run, report_every_s: float, on_ended: Callable[[list[Trajectory]], None]) -> None:
        """Returns when all of it was reported."""
        self.state = SlotState.GENERATING
        order = run.group.order
        reports = self._worker.generate.remote(run.requests, order.sampling, report_every_s, order.traceparent)

        async def receive() -> None:
            async for answer in reports:
                report = await answer
                tracing.keep(report.span)
                on_ended(report.trajectories)

        await _answer(receive(), self._settings.generation_timeout_s, "generate", run)
        self.state = SlotState.IDLE

    async def flush(self) -> None:
        """Its spans are sent, if it is idle and soon done with it."""
        if self._traced is not None and self.state is SlotState.IDLE:
            await _answer(self._worker.flush.remote(), FLUSH_TIMEOUT_S, "flush")

    def dismiss(self) -> None:
        """Ends the worker, if there is one."""
        if self._worker is not None:
            ray.kill(self._worker)
        self._worker, self.state = None, SlotState.LOST


async def _answer(call: Awaitable[T], timeout_s: float, job: str, run: Run | None = None) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except RayTaskError as error:  # before TimeoutError: it may be one of those too, if the engine raised one
        if isinstance(error.cause, PlauditError):
            raise error.cause from error
        raise _failure(job, run, error.cause) from error.cause
    except TimeoutError:
        raise WorkerOverdue(f"{job}: overdue") from None
    except RayError as error:  # the actor, its process, its node or its memory is gone
        raise WorkerLost(f"{job}: {type(error).__name__}") from None


def _failure(job: str, run: Run | None, cause: Exception) -> RunFailed:
    """An engine's own error, such as one for lack of memory, with the job that it met."""
    reason = " ".join(f"{type(cause).__name__}: {cause}".split())
    if run is None:
        return RunFailed(f"a rollout worker failed at {job}: {reason}")
    return RunFailed(
        f"prompts {run.names()}: generating for them failed ({reason}): leave these prompts out, or lower "
        "max_new_tokens or rollout.group_size"
    )
