"""A run is watched and steered over gRPC while its loop goes on: a real server, a loop of sleeps in the main thread."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from plaudit.errors import ConfigurationError
from plaudit.rollout.pool import PoolCounts
from plaudit.telemetry.http import application
from plaudit.trainer import service
from plaudit.trainer.checkpoint import CheckpointFailed
from plaudit.trainer.control import Control, State
from plaudit.trainer.service import TrainerServicer, serving
from plaudit_client.trainer import Pool, Run, Step, TrainerClient, TrainerError
from plaudit_protos.trainer.v1 import trainer_pb2 as pb
from plaudit_protos.trainer.v1 import trainer_pb2_grpc


class Toy:
    """The loop's side: a step writes its line, a save its folder."""

    def __init__(self, folder: Path, steps: int, on_step: Callable[[int], None] = lambda step: None) -> None:
        self.folder, self.steps, self.on_step = folder, steps, on_step
        self.control = Control(folder, steps)
        self.step = 0

    def run(self) -> State:
        ending = State.DONE
        self.control.opened(0, None, None)
        while self.step < self.steps:
            self.control.between_steps(self.save)
            if self.control.stopping:
                ending = State.STOPPED
                break
            self.control.enter("generate")
            self.on_step(self.step)
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": self.step, "time": time.time(), "kl": self.step / 2}) + "\n")
            self.step += 1
            self.control.step_done(self.step)
        self.save()
        self.control.end(ending)
        return ending

    def save(self) -> Path:
        path = self.folder / f"step-{self.step:05d}"
        path.mkdir(exist_ok=True)
        self.control.saved(path)
        return path


@contextmanager
def served(toy: Toy) -> Iterator[tuple[TrainerClient, str]]:
    """(client, address of /health)."""
    app = application(CollectorRegistry(), toy.control.health)
    servicer = TrainerServicer(toy.control, toy.folder / "metrics.jsonl")
    with (
        serving("127.0.0.1:0", "127.0.0.1:0", app, servicer) as (address, http_address),
        TrainerClient(address) as client,
    ):
        yield client, http_address


@contextmanager
def running(toy: Toy) -> Iterator[TrainerClient]:
    """Its loop in a thread, stopped at the end."""
    with served(toy) as (client, _), ThreadPoolExecutor(1) as pool:
        ending = pool.submit(toy.run)
        try:
            yield client
        finally:
            toy.control.resume() if not ending.done() else None
            toy.control.stop() if not ending.done() else None
            ending.result(10)


def slowly(step: int) -> None:
    time.sleep(0.02)


def until(client: TrainerClient, condition: Callable[[Run], bool]) -> Run:
    deadline = time.monotonic() + 10
    while not condition(run := client.get()):
        assert time.monotonic() < deadline, run
        time.sleep(0.005)
    return run


def until_asked(control: Control) -> None:
    deadline = time.monotonic() + 10
    while not control._wanted:
        assert time.monotonic() < deadline
        time.sleep(0.01)


class ToyPool:
    """Knows how many workers it shall have."""

    def __init__(self) -> None:
        self.counts = PoolCounts(Counter(idle=2), wanted=2, waiting=7, set_aside=1, restarts=3)

    def resize(self, workers: int) -> None:
        self.counts = replace(self.counts, wanted=workers)


class BusyPool(ToyPool):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.free = threading.Event(), threading.Event()

    def resize(self, workers: int) -> None:
        self.asked.set()
        assert self.free.wait(30)


def test_the_run_goes_on_while_its_pool_takes_its_time_to_answer(tmp_path: Path) -> None:
    control, pool = Control(tmp_path, 5), BusyPool()
    control.opened(0, None, None)
    control.has_pool(pool)
    asking = threading.Thread(target=control.pool, args=(3,))
    asking.start()
    assert pool.asked.wait(30)
    phases = threading.Thread(target=control.enter, args=("generate",), daemon=True)
    phases.start()
    phases.join(5)
    assert not phases.is_alive(), "the run waits for whoever looks at its pool"
    pool.free.set()
    asking.join()


def test_a_pool_is_looked_at_and_resized_from_outside(tmp_path: Path) -> None:
    toy = Toy(tmp_path, 5)
    with served(toy) as (client, _):
        with pytest.raises(TrainerError, match="no rollout workers yet") as early:
            client.pool()
        assert early.value.reason == "POOL_NOT_READY"
        toy.control.has_pool(ToyPool())
        assert client.pool() == Pool(wanted=2, workers={"idle": 2}, waiting=7, restarts=3, set_aside=1)
        assert client.resize_pool(64).wanted == 64
        for workers in (0, -1, 10_001):
            with pytest.raises(TrainerError, match="1 to 10000 workers") as wrong:
                client.resize_pool(workers)
            assert wrong.value.reason == "INVALID_WORKERS"
        assert client.pool().wanted == 64
        toy.run()
        with pytest.raises(TrainerError) as late:
            client.resize_pool(2)
        assert late.value.reason == "RUN_ENDED"


def test_a_watcher_sees_every_step_and_the_end(tmp_path: Path) -> None:
    with running(Toy(tmp_path, 5, slowly)) as client:
        events = list(client.watch(from_step=0))
    first, *_, last = events
    assert isinstance(first, Run)
    assert isinstance(last, Run)
    assert (last.state, last.step, last.folder) == ("done", 5, str(tmp_path.resolve()))
    steps = [event for event in events if isinstance(event, Step)]
    assert [(one.step, one.metrics) for one in steps] == [(n, {"kl": n / 2}) for n in range(5)]
    assert abs(steps[-1].end_time.timestamp() - time.time()) < 60


def test_without_a_first_step_only_what_comes_is_sent(tmp_path: Path) -> None:
    with running(Toy(tmp_path, 40, slowly)) as client:
        seen = until(client, lambda run: run.step >= 5).step
        steps = [event.step for event in client.watch() if isinstance(event, Step)]
    assert seen <= steps[0] <= seen + 3
    assert steps == list(range(steps[0], 40))


def test_a_paused_run_stands_still_until_it_is_resumed(tmp_path: Path) -> None:
    with running(Toy(tmp_path, 1000, slowly)) as client:
        until(client, lambda run: run.step > 1)
        assert client.pause().state in ("pausing", "paused")
        paused = until(client, lambda run: run.state == "paused")
        assert client.pause() == paused  # twice is once
        time.sleep(0.2)
        assert client.get() == paused
        assert client.checkpoint() == str(tmp_path / f"step-{paused.step:05d}")  # at once, in spite of the pause
        assert client.resume().state in ("running", "paused")
        until(client, lambda run: run.step > paused.step + 1)


def test_a_pause_before_the_first_step_holds(tmp_path: Path) -> None:
    toy = Toy(tmp_path, 3)
    toy.control.pause()
    with running(toy) as client:
        until(client, lambda run: run.state == "paused")
        assert client.get().step == 0
        client.resume()
        until(client, lambda run: run.state == "done")


def test_a_checkpoint_comes_after_the_step_under_way(tmp_path: Path) -> None:
    go = threading.Event()
    with running(Toy(tmp_path, 3, lambda step: go.wait(10) and None)) as client, ThreadPoolExecutor(2) as pool:
        until(client, lambda run: run.phase == "generate")
        waiting = [pool.submit(client.checkpoint) for _ in range(2)]
        time.sleep(0.2)
        assert not any(one.done() for one in waiting)
        go.set()
        assert {one.result(10) for one in waiting} == {str(tmp_path / "step-00001")}
        until(client, lambda run: run.state == "done")


def test_who_waits_too_short_is_told_that_the_step_goes_on(tmp_path: Path) -> None:
    go = threading.Event()
    with running(Toy(tmp_path, 3, lambda step: go.wait(10) and None)) as client:
        until(client, lambda run: run.phase == "generate")
        with pytest.raises(TrainerError):
            client.checkpoint(timeout=0.2)
        go.set()
        until(client, lambda run: run.state == "done")
    assert (tmp_path / "step-00001").is_dir()  # it is still written


@pytest.mark.parametrize("error", [OSError("no space left on device"), TimeoutError("no space left by then")])
def test_a_checkpoint_that_cannot_be_written_is_told(tmp_path: Path, error: OSError) -> None:
    """A file server that does not answer is a TimeoutError too."""
    toy = Toy(tmp_path, 1000, slowly)

    def fail() -> Path:
        raise error

    with served(toy) as (client, _), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.checkpoint)
        until_asked(toy.control)
        with pytest.raises(OSError, match="no space"):
            toy.control.between_steps(fail)
        with pytest.raises(TrainerError, match="the trainer says why") as caught:
            asked.result(10)
    assert caught.value.reason == "CHECKPOINT_FAILED"


def test_a_checkpoint_without_room_does_not_end_the_run(tmp_path: Path) -> None:
    toy = Toy(tmp_path, 1000, slowly)

    def fail() -> Path:
        raise CheckpointFailed("no room")

    with served(toy) as (client, _), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.checkpoint)
        until_asked(toy.control)
        toy.control.between_steps(fail)
        with pytest.raises(TrainerError, match="the trainer says why"):
            asked.result(10)
        assert client.get().state == "running"


def test_stop_ends_it_after_a_checkpoint(tmp_path: Path) -> None:
    with running(Toy(tmp_path, 1000, slowly)) as client:
        until(client, lambda run: run.step > 1)
        events = client.watch()
        next(events)
        assert client.stop().state == "stopping"
        *_, last = events
        assert isinstance(last, Run)
        assert last.state == "stopped"
        assert last.checkpoint == str(tmp_path / f"step-{last.step:05d}")
        for refused in (client.pause, client.resume, client.stop, client.checkpoint):
            with pytest.raises(TrainerError, match="the run is stopped") as caught:
                refused()
            assert caught.value.reason == "RUN_ENDED"


def test_whoever_waits_for_a_run_that_fails_is_told(tmp_path: Path) -> None:
    toy = Toy(tmp_path, 3)
    with served(toy) as (client, _), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.checkpoint)
        until_asked(toy.control)
        toy.control.end(State.FAILED)
        with pytest.raises(TrainerError, match="ended before it wrote"):
            asked.result(10)
        assert client.get().state == "failed"


def test_a_caller_who_is_gone_keeps_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.05)
    toy = Toy(tmp_path, 3)
    with served(toy) as (client, _):
        for _ in range(service.CALLS + service.WATCHERS):
            with pytest.raises(TrainerError) as caught:
                client.checkpoint(timeout=0.1)
            assert caught.value.reason == "DEADLINE_EXCEEDED"
        assert client.get().state == "starting"
        toy.control.end(State.FAILED)


def test_steps_that_will_run_again_are_not_watched(tmp_path: Path) -> None:
    """A resumed run that fails before its record is open."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "time": 1.0, "kl": 0.0}\n')
    toy = Toy(tmp_path, 3)
    with served(toy) as (client, _):
        toy.control.end(State.FAILED)
        assert not [event for event in client.watch(from_step=0) if isinstance(event, Step)]


def test_so_many_may_watch_and_the_others_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "WATCHERS", 2)
    toy = Toy(tmp_path, 3)
    with served(toy) as (client, _):
        watching = [client.watch() for _ in range(2)]
        for one in watching:
            next(one)
        with pytest.raises(TrainerError) as caught:
            next(client.watch())
        assert caught.value.reason == "TOO_MANY_WATCHERS"
        watching[0].close()  # type: ignore[attr-defined]
        del watching[0]
        deadline = time.monotonic() + 10
        while True:  # a place is free once the server has noticed
            try:
                next(client.watch())
                break
            except TrainerError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert client.get().state == "starting"  # other calls have threads of their own


def test_health_tells_progress_from_presence(tmp_path: Path) -> None:
    toy = Toy(tmp_path, 10)
    with served(toy) as (_, address):
        before = httpx.get(f"http://{address}/health").json()
        toy.control.opened(4, time.time() - 100, tmp_path / "step-00004")
        resumed = httpx.get(f"http://{address}/health").json()
        toy.control.between_steps(toy.save)
        toy.control.step_done(5)
        after = httpx.get(f"http://{address}/health").json()
    assert (before["state"], before["seconds_since_last_step"]) == ("starting", None)
    assert (resumed["step"], resumed["steps"]) == (4, 10)
    assert 100 <= resumed["seconds_since_last_step"] < 110
    assert (after["state"], after["step"]) == ("running", 5)
    assert after["seconds_since_last_step"] < 10
    assert "step 5 of 10" in after["detail"]


def test_the_standard_health_service_answers(tmp_path: Path) -> None:
    with served(Toy(tmp_path, 3)) as (client, _), grpc.insecure_channel(client.address) as channel:
        for name in ("", "plaudit_protos.trainer.v1.TrainerService"):
            request = health_pb2.HealthCheckRequest(service=name)
            found = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
            assert found.status == health_pb2.HealthCheckResponse.SERVING


def test_an_error_carries_one_error_info(tmp_path: Path) -> None:
    toy = Toy(tmp_path, 0)
    toy.run()
    with served(toy) as (client, _), grpc.insecure_channel(client.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            trainer_pb2_grpc.TrainerServiceStub(channel).PauseRun(pb.PauseRunRequest(), timeout=5)
        status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert len(status.details) == 1
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("plaudit.trainer", "RUN_ENDED")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    toy = Toy(tmp_path, 3)
    with served(toy) as (client, _):
        app = application(CollectorRegistry(), toy.control.health)
        with (
            pytest.raises(ConfigurationError, match=f"cannot listen on {client.address} for gRPC"),
            serving(client.address, "127.0.0.1:0", app, TrainerServicer(toy.control, tmp_path)),
        ):
            pass


def test_every_state_is_in_the_contract() -> None:
    assert {f"RUN_STATE_{state.name}" for state in State} | {"RUN_STATE_UNSPECIFIED"} == set(pb.RunState.keys())
