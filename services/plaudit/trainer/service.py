"""`TrainerService` over gRPC, and `/metrics` and `/health` over HTTP: how a run is watched and steered.

Each call has a thread of a small pool; none of them touches the loop, which hears of it through `Control`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from starlette.applications import Starlette

from plaudit.addresses import join_address, split_address
from plaudit.errors import ConfigurationError
from plaudit.rollout.pool import PoolBusy
from plaudit.telemetry.http import bind, serve_in_thread
from plaudit.trainer.control import ENDS, Control, NoPoolYet, RunEnded, Status
from plaudit.trainer.record import StepRows
from plaudit_client.trainer import MOST_WORKERS
from plaudit_protos.trainer.v1 import trainer_pb2 as pb
from plaudit_protos.trainer.v1 import trainer_pb2_grpc

logger = logging.getLogger(__name__)

DOMAIN = "plaudit.trainer"
WATCHERS = 16
"""Who may watch at once: a thread each."""
CALLS = 8
"""Threads for all other calls."""
LOOK_SECONDS = 1.0
"""How often a watcher's thread looks whether the watcher is still there."""


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Decode, call, encode."""

    def __init__(self, control: Control, metrics_file: Path) -> None:
        self._control, self._metrics_file = control, metrics_file
        self._places = threading.BoundedSemaphore(WATCHERS)

    def GetRun(self, request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.GetRunResponse:  # noqa: N802
        return pb.GetRunResponse(run=_run(self._control.status))

    def PauseRun(self, request: pb.PauseRunRequest, context: grpc.ServicerContext) -> pb.PauseRunResponse:  # noqa: N802
        return pb.PauseRunResponse(run=_wish(self._control.pause, context))

    def ResumeRun(self, request: pb.ResumeRunRequest, context: grpc.ServicerContext) -> pb.ResumeRunResponse:  # noqa: N802
        return pb.ResumeRunResponse(run=_wish(self._control.resume, context))

    def StopRun(self, request: pb.StopRunRequest, context: grpc.ServicerContext) -> pb.StopRunResponse:  # noqa: N802
        return pb.StopRunResponse(run=_wish(self._control.stop, context))

    def CheckpointRun(  # noqa: N802
        self, request: pb.CheckpointRunRequest, context: grpc.ServicerContext
    ) -> pb.CheckpointRunResponse:
        try:
            asked = self._control.checkpoint()
            while context.is_active() and not wait([asked], LOOK_SECONDS).done:  # who is gone keeps no thread
                pass
            return pb.CheckpointRunResponse(checkpoint=str(asked.result()) if asked.done() else "")
        except RunEnded as error:
            _abort(context, grpc.StatusCode.FAILED_PRECONDITION, "RUN_ENDED", str(error))
        except BaseException as error:
            logger.error("a checkpoint that was asked for could not be written: %r", error)
            _abort(context, grpc.StatusCode.INTERNAL, "CHECKPOINT_FAILED", "not written; the trainer says why")

    def GetPool(self, request: pb.GetPoolRequest, context: grpc.ServicerContext) -> pb.GetPoolResponse:  # noqa: N802
        return pb.GetPoolResponse(pool=self._pool(context))

    def ResizePool(self, request: pb.ResizePoolRequest, context: grpc.ServicerContext) -> pb.ResizePoolResponse:  # noqa: N802
        if not 1 <= request.workers <= MOST_WORKERS:
            message = f"a pool has 1 to {MOST_WORKERS} workers, not {request.workers}"
            _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_WORKERS", message)
        return pb.ResizePoolResponse(pool=self._pool(context, request.workers))

    def _pool(self, context: grpc.ServicerContext, resize_to: int | None = None) -> pb.Pool:
        try:
            found = self._control.pool(resize_to)
        except RunEnded as error:
            _abort(context, grpc.StatusCode.FAILED_PRECONDITION, "RUN_ENDED", str(error))
        except (NoPoolYet, PoolBusy) as error:
            _abort(context, grpc.StatusCode.UNAVAILABLE, "POOL_NOT_READY", str(error))
        return pb.Pool(
            wanted=found.wanted,
            workers=found.workers,
            waiting=found.waiting,
            restarts=found.restarts,
            set_aside=found.set_aside,
        )

    def WatchRun(self, request: pb.WatchRunRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchRunResponse]:  # noqa: N802
        if not self._places.acquire(blocking=False):
            _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS", f"{WATCHERS} watch already")
        try:
            yield from self._events(request, context)
        finally:
            self._places.release()

    def _events(self, request: pb.WatchRunRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchRunResponse]:
        """Steps are read from `metrics.jsonl`: a watcher who reads slowly misses none and holds up nobody."""
        rows: StepRows | None = None
        seen, shown = -1, None
        while context.is_active():
            seen, status = self._control.wait_for_change(seen, LOOK_SECONDS)
            if shown is None:
                yield pb.WatchRunResponse(run=_run(status))
                shown = status.state
            if rows is None and status.recording:  # before that the file may be cut
                rows = StepRows(self._metrics_file, request.from_step if request.HasField("from_step") else status.step)
            for row in rows.unread() if rows else ():
                yield pb.WatchRunResponse(step=_step(row))
            if status.state is not shown:
                yield pb.WatchRunResponse(run=_run(status))
                shown = status.state
            if status.state in ENDS:
                return


@contextmanager
def serving(address: str, http_address: str, app: Starlette, servicer: TrainerServicer) -> Iterator[tuple[str, str]]:
    """Serves until the block ends; yields both addresses with the ports that were chosen. Raises ConfigurationError."""
    http = serve_in_thread(app, *split_address(http_address))
    server: grpc.Server | None = None
    try:
        server, bound = _listen(address, servicer)
        yield bound, join_address(split_address(http_address)[0], http.port)
    finally:
        if server is not None:
            server.stop(grace=LOOK_SECONDS).wait(2 * LOOK_SECONDS)
        http.close()


def _listen(address: str, servicer: TrainerServicer) -> tuple[grpc.Server, str]:
    """Tried with a plain socket first: gRPC's own failure prints more than one clear line."""
    host, port = split_address(address)
    bind(host, port, "gRPC").close()
    pool = ThreadPoolExecutor(WATCHERS + CALLS, thread_name_prefix="trainer-service")
    server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
    trainer_pb2_grpc.add_TrainerServiceServicer_to_server(servicer, server)
    name = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name
    state = health.HealthServicer()
    for served in ("", name):
        state.set(served, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    reflection.enable_server_reflection((name, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        bound = server.add_insecure_port(join_address(host, port))
    except RuntimeError:
        raise ConfigurationError(f"cannot listen on {host}:{port} for gRPC: choose another address") from None
    server.start()
    return server, join_address(host, bound)


def _wish(act: Callable[[], Status], context: grpc.ServicerContext) -> pb.Run:
    try:
        return _run(act())
    except RunEnded as error:
        _abort(context, grpc.StatusCode.FAILED_PRECONDITION, "RUN_ENDED", str(error))


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str, message: str) -> NoReturn:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    number, _ = code.value
    status = status_pb2.Status(code=number, message=message, details=[info])
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort raises")


def _run(status: Status) -> pb.Run:
    run = pb.Run(
        folder=status.folder,
        state=pb.RunState.Value(f"RUN_STATE_{status.state.name}"),
        step=status.step,
        steps=status.steps,
        phase=status.phase,
        checkpoint=status.checkpoint,
    )
    if status.last_step_at is not None:
        run.last_step_time.FromNanoseconds(round(status.last_step_at * 1e9))
    return run


def _step(row: dict[str, float]) -> pb.Step:
    metrics = {name: value for name, value in row.items() if name not in ("step", "time")}
    step = pb.Step(step=int(row["step"]), metrics=metrics)
    step.end_time.FromNanoseconds(round(row["time"] * 1e9))
    return step
