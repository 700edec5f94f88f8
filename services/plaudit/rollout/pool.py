"""The rollout pool: Ray actors that generate, of which any may die at any moment.

    driver (one thread)                                     worker (one process each, one call at a time)
    -------------------                                     ---------------------------------------------
    set_weights: ray.put once, then Load to each idle one   loads straight from shared memory
                 waits until all of them have it
    generate:    cuts the requests into fixed groups
                 a group to each idle worker          ->    generates it, stamps the version
                 waits for whichever ends first       <-    trajectories
                 a worker died or is overdue: a fresh one takes its place, and its group goes out again
                 returns when all groups are there, in the requests' order

A worker with old weights gets the newest before its next group, so a call of `generate` uses one version throughout.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from plaudit.errors import RunFailed
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.engine import TRANSFORMERS
from plaudit.rollout.groups import Groups
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.slot import Generate, Job, Load, Slot, Start, WorkerLost, WorkerOverdue
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory

ON_DISK = -1
"""The version of the weights that a worker finds on disk."""

LOOK_SECONDS = 0.5

Progress = Callable[[int, int], None]
"""Called with (groups done, groups in all)."""


@dataclass(slots=True)
class PoolCounts:
    """For metrics."""

    alive: int = 0  # workers, now
    restarts: int = 0  # workers replaced, over the pool's life
    redispatched: int = 0  # groups that went out again, over the pool's life


class RayRolloutPool:
    """Implements `trainer.roles.RolloutPool`. Needs Ray to be there already (`cluster.start_ray`).

    Workers start in the background; what goes wrong with that is raised by `generate`. Before the first `set_weights`
    they generate with the weights on disk, as version -1.
    """

    def __init__(
        self,
        settings: RolloutSettings,
        policy: PolicySettings,
        *,
        engine: str = TRANSFORMERS,
        on_group_done: Progress | None = None,
    ) -> None:
        self._settings, self._policy, self._engine = settings, policy, engine
        self.on_group_done = on_group_done
        self.on_wait: Callable[[], None] = lambda: None  # called twice a second; what it raises ends the waiting
        self._version = ON_DISK
        self._weights: ray.ObjectRef[Any] | None = None  # None: those on disk
        self._restarts = self._redispatched = 0
        self._last_loss = "none could start"
        self._slots = [Slot(settings) for _ in range(settings.workers)]
        for slot in self._slots:
            self._start(slot)

    @property
    def counts(self) -> PoolCounts:
        """A snapshot."""
        return PoolCounts(sum(slot.alive for slot in self._slots), self._restarts, self._redispatched)

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that are up."""
        return [slot.pid for slot in self._slots if slot.alive]

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling) -> list[Trajectory]:
        """One trajectory per request, in order.

        Raises RunFailed when every worker is lost, a group has cost too many, or an engine fails.
        """
        groups = Groups(requests, self._settings.group_size, self._settings.max_attempts)
        while groups.done < len(groups):
            self._dispatch(groups, sampling)
            for slot in self._wait():
                self._collect(slot, groups)
        return groups.trajectories()

    def set_weights(self, version: int, weights: npt.NDArray[np.uint8]) -> None:
        """Gives every worker these weights, and waits until those that are up have loaded them. Versions only rise."""
        if version <= self._version:
            raise ValueError(f"weights of version {version} come after those of version {self._version}")
        self._version, self._weights = version, ray.put(weights)
        for slot in self._slots:
            if slot.worker is None:  # given up for lost; the cluster may have recovered since
                slot.failed_starts = 0
                self._start(slot)
            self._refresh(slot)
        while any(isinstance(slot.job, Load) for slot in self._slots):
            for slot in self._wait():
                self._collect(slot, None)

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""
        for slot in self._slots:
            slot.dismiss()
        self._weights = None

    def _start(self, slot: Slot) -> None:
        slot.hire()
        call = slot.worker.start.remote(self._engine, self._policy, self._settings, self._version, self._weights)
        slot.begin(Start(self._version), call, self._settings.start_timeout_s)

    def _refresh(self, slot: Slot) -> None:
        """The newest weights to an idle worker that has older ones."""
        if slot.idle and slot.version != self._version:
            call = slot.worker.set_weights.remote(self._version, self._weights)
            slot.begin(Load(self._version), call, self._settings.start_timeout_s)

    def _dispatch(self, groups: Groups, sampling: Sampling) -> None:
        """A group to each idle worker, as long as there are any."""
        for slot in self._slots:
            self._refresh(slot)
            if slot.idle and (index := groups.take()) is not None:
                call = slot.worker.generate.remote(groups[index], sampling)
                slot.begin(Generate(groups, index), call, self._settings.generation_timeout_s)

    def _wait(self) -> list[Slot]:
        """Blocks until at least one call has ended or is overdue; returns the slots of those."""
        busy = {slot.call: slot for slot in self._slots if slot.call is not None}
        if not busy:
            raise RunFailed(self._all_lost())
        deadline = min(slot.deadline for slot in busy.values())
        ended: list[Any] = []
        while not ended and (left := deadline - time.monotonic()) > 0:
            self.on_wait()
            ended, _ = ray.wait(list(busy), num_returns=1, timeout=min(left, LOOK_SECONDS), fetch_local=False)
        now = time.monotonic()
        return [slot for call, slot in busy.items() if call in ended or slot.deadline <= now]

    def _collect(self, slot: Slot, groups: Groups | None) -> None:
        """Takes the ended call's result; `groups` is what is being generated now, if anything."""
        job = slot.job
        try:
            result = slot.collect()
        except WorkerLost as loss:
            self._replace(slot, job, loss)
            if isinstance(job, Generate) and job.groups is groups:
                self._redispatched += 1
                groups.give_back(job.index, str(loss))
            return
        if isinstance(job, Start | Load):
            slot.loaded(job, result)
        elif isinstance(job, Generate) and job.groups is groups:  # else left over from a call that was given up
            groups.finish(job.index, result)
            if self.on_group_done is not None:
                self.on_group_done(groups.done, len(groups))
        self._refresh(slot)

    def _replace(self, slot: Slot, job: Job | None, loss: WorkerLost) -> None:
        """A fresh worker, unless several in a row died while starting, or the cluster has no room for one."""
        slot.dismiss()
        self._last_loss = f"{type(job).__name__.lower()}: {loss}"
        slot.failed_starts += isinstance(job, Start)
        no_room = isinstance(job, Start) and isinstance(loss, WorkerOverdue)
        if not no_room and slot.failed_starts < self._settings.max_attempts:
            self._restarts += 1
            self._start(slot)

    def _all_lost(self) -> str:
        has = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
        here = ray.get_runtime_context()
        return (
            f"every rollout worker is lost (the last one at {self._last_loss}): each of {len(self._slots)} asks for "
            f"{self._settings.cpus_per_worker:g} CPUs, the Ray cluster has {has:g}; a worker's own log is in "
            f"{here.get_temp_dir()}/{here.get_session_name()}/logs of the node that it ran on"
        )
