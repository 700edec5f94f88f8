"""What people ask of a run, and what they see of it: shared by the loop's thread and those that answer calls.

    calls   pause, resume, stop, checkpoint  ->  wishes  ->  between_steps                  the loop's thread
            status, wait_for_change          <-  status  <-  enter, step_done, saved, end

SIGTERM leaves no time for the step under way: until the learner's weights begin to move the step is given up, and done
anew by the process that resumes. The handler only notes it: an exception out of a handler would come up anywhere, in
the middle of Ray's code too. Those that wait ask `check` twice a second.
"""

import dataclasses
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from plaudit.errors import RunFailed
from plaudit.rollout.pool import ANSWER_S, PoolBusy, PoolCounts
from plaudit.telemetry.http import Health
from plaudit.trainer.checkpoint import CheckpointFailed


class State(StrEnum):
    """The contract's `RunState`."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


ENDS = (State.STOPPED, State.DONE, State.FAILED)
POLL_SECONDS = 0.2
"""How often a paused run looks whether SIGTERM came."""
GIVEN_UP = ("samples", "generate", "score", "wait", "evaluate")
"""Phases that leave no trace in what a checkpoint holds, and so does entering the next one, "update"."""


class StepGivenUp(Exception):
    """SIGTERM came before the step began to learn."""


class RunEnded(RunFailed):
    """What is asked for will not happen any more."""


@dataclass(frozen=True)
class Status:
    """A run at one moment."""

    folder: str
    steps: int
    state: State = State.STARTING
    step: int = 0  # done, by earlier processes too
    phase: str = ""  # of the step under way
    last_step_at: float | None = None  # Unix seconds
    checkpoint: str = ""  # the newest one's folder
    recording: bool = False  # metrics.jsonl holds this run's steps, and none that will run again


class Pool(Protocol):
    """Of the pool, what can be asked from outside."""

    @property
    def counts(self) -> PoolCounts:
        """As they are now. Raises PoolBusy."""
        ...

    def resize(self, workers: int) -> None:
        """At once, whatever the workers are at. Raises PoolBusy."""
        ...


class NoPoolYet(RunFailed):
    """The run is starting."""


class Control:
    """One per run."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._changed = threading.Condition()
        self._asking = threading.Lock()
        """Held while the pool is asked, so that nobody asks one that is closed. `_changed` is not: the run itself needs
        it at every phase, and a pool may take seconds to answer."""
        self._changes = 0
        self._status = Status(str(folder.resolve()), steps)
        self._pause = self._stop = False
        self._wanted: list[Future[Path]] = []
        self._pool: Pool | None = None
        self.terminated = False
        """Whether SIGTERM came. Its handler takes no lock: the thread that it interrupts may hold it."""
        self._grace: threading.Timer | None = None

    # -- asked from outside -----------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """As it is now."""
        return self._status

    def wait_for_change(self, seen: int, timeout_s: float) -> tuple[int, Status]:
        """(count of changes, status) as soon as there are more than `seen`, or after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._changes > seen, timeout_s)
            return self._changes, self._status

    def pause(self) -> Status:
        """Raises RunEnded."""
        return self._wish(pause=True)

    def resume(self) -> Status:
        """Raises RunEnded."""
        return self._wish(pause=False)

    def stop(self) -> Status:
        """Raises RunEnded once it has ended."""
        return self._wish(stop=True)

    def checkpoint(self) -> Future[Path]:
        """After the step under way. Raises RunEnded; the future may, or what the writing raised."""
        future: Future[Path] = Future()
        with self._changed:
            self._refuse_after_the_end()
            self._wanted.append(future)
            self._changed.notify_all()
        return future

    def pool(self, resize_to: int | None = None) -> PoolCounts:
        """The rollout workers, resized first if asked for. Raises NoPoolYet, PoolBusy, RunEnded."""
        if not self._asking.acquire(timeout=ANSWER_S):
            raise PoolBusy("somebody else waits for the rollout pool's answer")
        try:
            with self._changed:
                self._refuse_after_the_end()
                pool = self._pool
            if pool is None:
                raise NoPoolYet("the run is starting: it has no rollout workers yet")
            if resize_to is not None:
                pool.resize(resize_to)
            return pool.counts
        finally:
            self._asking.release()

    def health(self) -> Health:
        """Presence by answering at all, progress by when the last step ended."""
        now = self._status
        ago = None if now.last_step_at is None else max(0.0, time.time() - now.last_step_at)
        facts = {
            "folder": now.folder,
            "state": str(now.state),
            "step": now.step,
            "steps": now.steps,
            "phase": now.phase,
            "last_step_at": now.last_step_at,
            "seconds_since_last_step": ago,
        }
        since = "no step has ended yet" if ago is None else f"the last one ended {ago:.0f} s ago"
        return Health(True, f"{now.state}, step {now.step} of {now.steps}, {since}", facts)

    # -- told by the loop -------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether no further step shall begin."""
        return self._stop or self.terminated

    @property
    def pausing(self) -> bool:
        """Whether the next step shall wait."""
        return self._pause

    def has_pool(self, pool: Pool) -> None:
        """From now on it can be resized."""
        with self._changed:
            self._pool = pool

    def opened(self, step: int, last_step_at: float | None, checkpoint: Path | None) -> None:
        """The record is open; `step` steps were done by earlier processes, up to that checkpoint."""
        newest = "" if checkpoint is None else str(checkpoint.resolve())
        self._change(step=step, last_step_at=last_step_at, checkpoint=newest, recording=True)

    def enter(self, phase: str) -> None:
        """A phase of a step begins. Raises StepGivenUp where that is still possible and wanted."""
        self.check()
        self._change(phase=phase)

    def check(self) -> None:
        """Raises StepGivenUp after SIGTERM, in a phase that can be given up."""
        if self.terminated and self._status.phase in GIVEN_UP:
            raise StepGivenUp

    def leave(self) -> None:
        """No further step begins."""
        self._change(state=self._underway(), phase="")

    def step_done(self, step: int) -> None:
        """`step` steps are done."""
        self._change(step=step, phase="", last_step_at=time.time())

    def saved(self, checkpoint: Path) -> None:
        """A checkpoint is on the disk."""
        self._change(checkpoint=str(checkpoint.resolve()))

    def between_steps(self, save: Callable[[], Path]) -> None:
        """Writes what checkpoints were asked for, and returns when the run may go on or shall stop."""
        while True:
            self._answer(save)
            with self._changed:
                if self.stopping or not self._pause:
                    self._change(state=State.STOPPING if self.stopping else State.RUNNING)
                    return
                self._change(state=State.PAUSED)
                self._changed.wait_for(lambda: bool(self._wanted) or self._stop or not self._pause, POLL_SECONDS)

    def end(self, state: State) -> None:
        """Tells those who wait. The first call counts."""
        with self._asking, self._changed:
            if self._status.state in ENDS:
                return
            self._change(state=state, phase="")
            for future in self._wanted:
                if state is State.FAILED or not self._status.checkpoint:
                    future.set_exception(RunEnded("the run ended before it wrote a checkpoint"))
                else:
                    future.set_result(Path(self._status.checkpoint))
            self._wanted = []

    def closed(self) -> None:
        """Everything is closed that may take time after the end."""
        if self._grace is not None:
            self._grace.cancel()

    def on_sigterm(self, grace_s: float, give_up: Callable[[], None]) -> None:
        """From now on SIGTERM stops the run; `give_up` is called if it is not `closed` `grace_s` later."""

        def received(*_: object) -> None:
            if self.terminated:
                return
            self.terminated = True
            self._grace = threading.Timer(grace_s, give_up)
            self._grace.daemon = True
            self._grace.start()

        signal.signal(signal.SIGTERM, received)

    # -- both -------------------------------------------------------------------------------------------------------

    def _wish(self, *, pause: bool | None = None, stop: bool = False) -> Status:
        with self._changed:
            self._refuse_after_the_end(stopping=not stop)
            self._stop = self._stop or stop
            self._pause = self._pause if pause is None else pause
            if self._status.state is not State.STARTING or stop:
                self._change(state=self._underway())
            return self._status

    def _underway(self) -> State:
        """Of a run that is at a step."""
        if self.stopping:
            return State.STOPPING
        if self._pause:
            return State.PAUSED if self._status.state is State.PAUSED else State.PAUSING
        return State.RUNNING

    def _answer(self, save: Callable[[], Path]) -> None:
        with self._changed:
            wanted, self._wanted = self._wanted, []
        if not wanted:
            return
        try:
            path = save()
        except BaseException as error:
            for future in wanted:
                future.set_exception(error)
            if isinstance(error, CheckpointFailed):  # whoever asked is told, and the run goes on
                return
            raise
        for future in wanted:
            future.set_result(path)

    def _refuse_after_the_end(self, *, stopping: bool = False) -> None:
        state = self._status.state
        if state in ENDS or (stopping and self.stopping):
            raise RunEnded(f"the run is {state}")

    def _change(self, **changes: object) -> None:
        with self._changed:
            changed = dataclasses.replace(self._status, **changes)  # type: ignore[arg-type]
            if changed != self._status:
                self._status = changed
                self._changes += 1
                self._changed.notify_all()
