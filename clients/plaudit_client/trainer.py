"""Watch and steer a training run.

    from plaudit_client.trainer import TrainerClient

    with TrainerClient("127.0.0.1:50052") as client:
        for event in client.watch():
            print(event)  # a Run, or a Step that is done

Every call may be repeated; none is retried here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self, cast

import grpc

from plaudit_client.channel import open_channel
from plaudit_client.status import error_info, status_of
from plaudit_protos.trainer.v1 import trainer_pb2 as pb
from plaudit_protos.trainer.v1.trainer_pb2_grpc import TrainerServiceStub

MOST_WORKERS = 10_000
"""In a pool: a slip of the finger shall not fill a cluster."""
RunState = Literal[
    "unspecified", "starting", "running", "pausing", "paused", "stopping", "stopped", "done", "failed"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """A run at one moment."""

    folder: str
    state: RunState
    step: int
    """Steps done; also the version of the policy's weights."""
    steps: int
    phase: str
    """Of the step under way."""
    last_step_time: datetime | None
    checkpoint: str
    """The newest one's folder; empty while there is none."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step that is done."""

    step: int
    """From 0."""
    end_time: datetime
    metrics: dict[str, float]
    """By the names of `metrics.jsonl`."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A run's rollout workers at one moment."""

    wanted: int
    """How many there shall be."""
    workers: dict[str, int]
    """How many are starting, loading (new weights), idle, generating, lost (tried again later)."""
    waiting: int
    """Requests that no worker is at."""
    restarts: int
    """Workers replaced since the run's process began."""
    set_aside: int
    """Prompts left out because they kill workers."""


class TrainerError(Exception):
    """The call has no answer; `reason` as listed in the .proto, empty when nobody answered."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class TrainerClient:
    """Asks one run; safe to use from several threads."""

    def __init__(self, address: str, *, timeout: float = 10.0) -> None:
        """`timeout` in seconds, for one call; `checkpoint` and `watch` have their own."""
        self.address, self._timeout = address, timeout
        self._channel = open_channel(address)
        self._stub = TrainerServiceStub(self._channel)

    def get(self) -> Run:
        """The run as it is now. Raises TrainerError, as all methods do."""
        return _run(self._call(self._stub.GetRun, pb.GetRunRequest()).run)

    def watch(self, from_step: int | None = None) -> Iterator[Run | Step]:
        """The run as it is, then its steps and changes of state, until it ends; with the steps from `from_step` on."""
        try:
            for response in self._stub.WatchRun(pb.WatchRunRequest(from_step=from_step)):
                yield _run(response.run) if response.HasField("run") else _step(response.step)
        except grpc.RpcError as error:
            raise self._explained(error) from None

    def pause(self) -> Run:
        """Halts it after the step under way."""
        return _run(self._call(self._stub.PauseRun, pb.PauseRunRequest()).run)

    def resume(self) -> Run:
        """Lets it go on."""
        return _run(self._call(self._stub.ResumeRun, pb.ResumeRunRequest()).run)

    def checkpoint(self, *, timeout: float = 3600.0) -> str:
        """Waits until the step under way is done and its checkpoint written; returns the checkpoint's folder."""
        return str(self._call(self._stub.CheckpointRun, pb.CheckpointRunRequest(), timeout).checkpoint)

    def stop(self) -> Run:
        """Ends it after the step under way and a checkpoint."""
        return _run(self._call(self._stub.StopRun, pb.StopRunRequest()).run)

    def pool(self) -> Pool:
        """Its rollout workers."""
        return _pool(self._call(self._stub.GetPool, pb.GetPoolRequest()).pool)

    def resize_pool(self, workers: int) -> Pool:
        """Grows or shrinks the pool at once; what resumes begins with the number that its settings name."""
        return _pool(self._call(self._stub.ResizePool, pb.ResizePoolRequest(workers=workers)).pool)

    def close(self) -> None:
        """Ends the calls under way."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Any], request: object, timeout: float | None = None) -> Any:
        try:
            return method(request, timeout=timeout or self._timeout)
        except grpc.RpcError as error:
            raise self._explained(error) from None

    def _explained(self, error: grpc.RpcError) -> TrainerError:
        call = cast(grpc.Call, error)
        message = " ".join((call.details() or call.code().name).split())
        reason = error_info(status_of(call)).reason
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:  # the client's own clock is first
            message, reason = "no answer in time; what was asked is still done", "DEADLINE_EXCEEDED"
        return TrainerError(f"run at {self.address}: {message}", reason)


def _run(run: pb.Run) -> Run:
    state = cast(RunState, pb.RunState.Name(run.state).removeprefix("RUN_STATE_").lower())
    ended = run.last_step_time.ToDatetime(UTC) if run.HasField("last_step_time") else None
    return Run(run.folder, state, run.step, run.steps, run.phase, ended, run.checkpoint)


def _pool(pool: pb.Pool) -> Pool:
    return Pool(pool.wanted, dict(pool.workers), pool.waiting, pool.restarts, pool.set_aside)


def _step(step: pb.Step) -> Step:
    return Step(step.step, step.end_time.ToDatetime(UTC), dict(step.metrics))
