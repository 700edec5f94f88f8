"""One run, step by step: draws samples, learns, writes checkpoints, and goes on or stops as it is told."""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from plaudit.errors import WouldEndAgain
from plaudit.report import page as report
from plaudit.rollout.pool import RayRolloutPool
from plaudit.telemetry import tracing
from plaudit.telemetry.progress import Bar, bar
from plaudit.trainer import checkpoint
from plaudit.trainer.checkpoint import CheckpointFailed, RunState
from plaudit.trainer.control import Control, State, StepGivenUp
from plaudit.trainer.loop import Loop, Metrics, TooFarFromReference
from plaudit.trainer.metrics import TrainerMetrics
from plaudit.trainer.record import RunRecord
from plaudit.trainer.samples import Sampler
from plaudit.trainer.scoring import RemoteScorer
from plaudit.trainer.settings import TrainSettings
from plaudit.trajectory import Prompt

CHECKPOINTS = "checkpoints"
WITHOUT_CHECKPOINT_S = 3600.0
"""As long may they fail: then the run ends, for what it does is lost with its node."""

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """One run, wired. `state` moves with every step."""

    settings: TrainSettings
    loop: Loop
    sampler: Sampler
    metrics: TrainerMetrics
    record: RunRecord
    pool: RayRolloutPool
    scorer: RemoteScorer
    control: Control
    state: RunState
    prompts: dict[str, list[Prompt]]  # by what they are called in `RunState`
    recent: deque[Metrics]  # of as many steps as lie between two checkpoints
    failing_since: float | None = None  # on the monotonic clock: the first checkpoint since then has failed

    def drive(self) -> State:
        """Runs the remaining steps, then tells all who wait how it ended."""
        try:
            ending = self._run_to_its_end()
        except BaseException:
            self.control.end(State.FAILED)
            raise
        self.control.end(ending)
        return ending

    def _run_to_its_end(self) -> State:
        finished = False
        with bar("PPO", self.settings.steps, done=self.state.step) as progress, suppress(StepGivenUp):
            finished = self._run_steps(progress)
        self.control.leave()
        path, folder = self._save(), self.settings.folder
        if not finished:
            print(f"{folder}: stopped after step {self.state.step} with {path}; the same command goes on", flush=True)
            if not self.control.terminated:  # else there is little time
                print(f"report: {report.write(Path(folder))}", flush=True)
            return State.STOPPED
        best_by = self.settings.checkpoints.best_by
        best = checkpoint.best(self._checkpoints, best_by)
        if best not in (None, path):
            print(f"best by {best_by}: {best}")
        if gone := [name for ids in self._set_aside().values() for name in ids]:
            print(f"set aside, for they killed workers: prompts {', '.join(gone)}")
        print(f"policy: {path}\nreport: {report.write(Path(folder))}", flush=True)
        return State.DONE

    def _run_steps(self, progress: Bar) -> bool:
        """False when it was stopped before the last one."""

        def enter(phase: str) -> None:
            self.control.enter(phase)
            progress.note(phase)

        self.loop.on_phase = enter
        self.pool.on_wait = self.scorer.on_wait = self.control.check
        self.pool.on_progress = lambda done, total: progress.note(f"generate {done}/{total}")
        while self.state.step < self.settings.steps:
            if self.control.pausing:
                progress.note("paused")
            self.control.between_steps(self._save)
            if self.control.stopping:
                return False
            self._step(enter)
            progress.advance(note=_note(self.recent[-1]))
            self._save_if_due()
        if self.control.stopping:
            return False
        enter("samples")
        self.sampler.draw(self.state.step)
        return True

    def _step(self, enter: Callable[[str], None]) -> None:
        step = self.state.step
        if step == 0 and self.settings.samples.best_of:
            enter("samples")
            self.sampler.draw_start()
        if step % self.settings.samples.every == 0:
            enter("samples")
            self.sampler.draw(step)
        missing_before = self.scorer.missing.copy()  # held-out samples' too
        try:
            with tracing.step(step):
                metrics = self.loop.step(step)
        except TooFarFromReference as error:
            try:
                raise WouldEndAgain(f"{error}; the policy as it was is in {self._save()}") from None
            except CheckpointFailed as failed:
                raise WouldEndAgain(f"{error}; {failed}") from None
        self.state = replace(
            self.state,
            step=step + 1,
            kl_controller=self.loop.controller.state(),
            scores=self.loop.shaper.state(),
        )
        self.record.write(step, metrics)
        self.recent.append(metrics)
        self.metrics.observe(step, metrics)
        self.metrics.observe_rewards(self.scorer.missing - missing_before, self.scorer.retries)
        self.control.step_done(step + 1)

    def _save_if_due(self) -> None:
        """One that fails is tried again after each step: a volume that is full may be given room meanwhile."""
        if self.state.step % self.settings.checkpoints.every and self.failing_since is None:
            return
        try:
            self._save()
        except CheckpointFailed as error:
            if time.monotonic() - (self.failing_since or 0.0) > WITHOUT_CHECKPOINT_S:
                raise
            logger.warning("%s; it is tried again after each step", error)

    def _save(self) -> Path:
        """The checkpoint of this step, if there is none yet. Raises CheckpointFailed."""
        path = checkpoint.of_step(self._checkpoints, self.state.step) or self._write_checkpoint()
        self.control.saved(path)
        return path

    def _write_checkpoint(self) -> Path:
        settings = self.settings.checkpoints
        in_flight, drawn = self.loop.rollouts.position(self.state.step)
        now = replace(self.state, in_flight=in_flight, drawn=drawn)
        state = replace(now, merit=self._merit(), set_aside=self._set_aside())
        if self.failing_since is None:
            self.failing_since = time.monotonic()  # until this one is written
        with self.metrics.checkpoints.writing():
            path = checkpoint.save(self._checkpoints, state, self.loop.learner, settings.keep, settings.best_by)
        self.failing_since = None
        self.metrics.checkpoints.written(path)
        return path

    def _merit(self) -> dict[str, float]:
        """A single step's mean is mostly noise: that of as many steps as lie between two checkpoints."""
        best_by, window = self.settings.checkpoints.best_by, self.settings.checkpoints.every
        if best_by is None or len(self.recent) < window:
            return {}
        return {best_by: fmean(metrics[best_by] for metrics in self.recent)}

    def _set_aside(self) -> dict[str, list[str]]:
        """Ids of the prompts that are not generated for any more."""
        gone = set(self.pool.set_aside)
        return {name: ids for name, prompts in self.prompts.items() if (ids := [p.id for p in prompts if p in gone])}

    @property
    def _checkpoints(self) -> Path:
        return Path(self.settings.folder) / CHECKPOINTS


def _note(metrics: Metrics) -> str:
    return f"score {metrics['score_mean']:+.3f}  KL {metrics['kl']:.2f}"
