"""One place in the pool: the actor that fills it now, and the one call that it is working on."""

import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from plaudit.errors import PlauditError, RunFailed
from plaudit.rollout.groups import Groups
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.worker import RolloutWorker


class WorkerLost(Exception):
    """The worker died."""


class WorkerOverdue(WorkerLost):
    """The worker took longer than allowed."""


@dataclass(frozen=True, slots=True)
class Start:
    """Build the engine, with the weights of `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class Load:
    """Take over the weights of `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class Generate:
    """Generate group `index` of `groups`."""

    groups: Groups
    index: int


Job = Start | Load | Generate


class Slot:
    """Knows nothing of the others; the pool asks it for one job at a time."""

    def __init__(self, settings: RolloutSettings) -> None:
        self._options = {
            "num_cpus": settings.cpus_per_worker,
            "num_gpus": settings.gpus_per_worker,
            "max_restarts": 0,  # the pool replaces a dead worker itself, with the weights it needs
            "max_task_retries": 0,
        }
        self.worker: Any = None  # None: empty
        self.job: Job | None = None
        self.call: ray.ObjectRef[Any] | None = None
        self.deadline = 0.0  # of the call, monotonic seconds
        self.version: int | None = None  # of the weights loaded; None before the start is over
        self.pid = 0
        self.failed_starts = 0

    @property
    def alive(self) -> bool:
        """Started, and not known to be dead."""
        return self.version is not None

    @property
    def idle(self) -> bool:
        """Alive and without a job."""
        return self.alive and self.job is None

    def hire(self) -> None:
        """A fresh actor; its first job must be Start."""
        self.worker = ray.remote(RolloutWorker).options(**self._options).remote()
        self.version = None

    def begin(self, job: Job, call: Any, timeout_s: float) -> None:
        """`call` is the worker's answer to come."""
        self.job, self.call, self.deadline = job, call, time.monotonic() + timeout_s

    def collect(self) -> Any:
        """The ended call's result. Raises WorkerLost, or a PlauditError for what the engine itself raised."""
        call, job, self.job, self.call = self.call, self.job, None, None
        assert call is not None
        if not ray.wait([call], timeout=0, fetch_local=False)[0]:  # done, wherever its result lies
            raise WorkerOverdue("overdue")
        try:
            return ray.get(call)
        except RayTaskError as error:
            if isinstance(error.cause, PlauditError):
                raise error.cause from error
            raise _failure(job, error.cause) from error.cause
        except RayError as error:  # the actor, its process, its node or its memory is gone
            raise WorkerLost(type(error).__name__) from None

    def loaded(self, job: Start | Load, result: int) -> None:
        """`job` ended well; a start's result is the process id."""
        self.version, self.failed_starts = job.version, 0
        if isinstance(job, Start):
            self.pid = result

    def dismiss(self) -> None:
        """Ends the actor, if there is one, and forgets its job."""
        if self.worker is not None:
            ray.kill(self.worker)
        self.worker = self.job = self.call = self.version = None


def _failure(job: Job | None, cause: Exception) -> RunFailed:
    """An engine's own error, such as one for lack of memory, with the job that it met."""
    reason = " ".join(f"{type(cause).__name__}: {cause}".split())
    if not isinstance(job, Generate):
        return RunFailed(f"a rollout worker failed at {type(job).__name__.lower()}: {reason}")
    return RunFailed(
        f"prompts {job.groups.names(job.index)}: generating for them failed ({reason}): leave these prompts out, or "
        "lower max_new_tokens or rollout.group_size"
    )
