"""What a PPO step costs beside its model calls: `python benchmarks/loop/orchestration.py TRAIN.yaml [key=value ...]`

Runs `plaudit train` with these settings, against a reward server that is up, and measures processor seconds in the
driver and in the workers. Model calls are forward and backward passes, with the log-probabilities that are read from
them, and the optimizer's steps. Drawing tokens is shown by itself. All the rest is what the step costs beside: the
loop, Ray, gRPC, batches, PPO's targets, weights, metrics, checkpoints, the report's samples.

Every process computes with one thread, whose own processor time it is. The first step is not counted.
"""

import functools
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from rich.console import Console
from rich.table import Table

from plaudit.policy import generation
from plaudit.policy.actor_critic import ActorCritic
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.transformers_engine import TransformersEngine
from plaudit.settings import load
from plaudit.trainer.loop import Loop
from plaudit.trainer.settings import TrainSettings
from plaudit.trainer.wiring import drive

NOTES = "ORCHESTRATION_NOTES"
KIND = "orchestration:Watched"
MODEL, DRAWING = "model calls", "drawing tokens"
Seconds = dict[str, float]
"""Of processors, by kind; of everything under the empty name."""


class Meter:
    """Processor seconds of a thread inside what is watched, by kind; a call inside another counts as the other."""

    def __init__(self) -> None:
        self.seconds: Seconds = defaultdict(float)
        self._inside = threading.local()

    def watch(self, owner: Any, name: str, kind: str) -> None:
        """Of a class, or of a module that calls it by this name."""
        call: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(call)
        def watched(*arguments: Any, **named: Any) -> Any:
            if getattr(self._inside, "a_call", False):
                return call(*arguments, **named)
            self._inside.a_call, began = True, time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                self._inside.a_call = False
                self.seconds[kind] += time.thread_time() - began

        setattr(owner, name, watched)

    def watch_models(self) -> None:
        """All that this file's docstring calls so."""
        self.watch(torch.nn.Module, "__call__", MODEL)
        self.watch(torch.autograd, "backward", MODEL)
        self.watch(torch.optim.AdamW, "step", MODEL)
        for name in ("reference_logprobs", "full_kl", "text_logprob"):
            self.watch(ActorCritic, name, MODEL)
        self.watch(generation, "draw", DRAWING)


class Watched(TransformersEngine):
    """Leaves a note of what it has spent so far behind every group."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        super().__init__(policy, settings)
        self._meter = Meter()
        self._meter.watch_models()

    def generate(self, *arguments: Any) -> Any:
        """As it is."""
        yield from super().generate(*arguments)
        spent = " ".join(str(self._meter.seconds[kind]) for kind in (MODEL, DRAWING))
        Path(os.environ[NOTES], str(os.getpid())).write_text(spent, encoding="utf-8")


@dataclass(frozen=True)
class Spent:
    """Seconds since the run began: on the clock, and of processors, by who and at what."""

    clock: float
    driver: Seconds
    workers: Seconds


def spent(meter: Meter, notes: Path) -> Spent:
    """Between two steps."""
    driver = {**meter.seconds, "": time.process_time()}
    workers: Seconds = defaultdict(float)
    for note in notes.iterdir():
        times = psutil.Process(int(note.name)).cpu_times()
        model, drawing = map(float, note.read_text(encoding="utf-8").split())
        for kind, seconds in (("", times.user + times.system), (MODEL, model), (DRAWING, drawing)):
            workers[kind] += seconds
    return Spent(time.monotonic(), driver, workers)


def table(at: list[Spent]) -> Table:
    """A row for the driver, one for the workers."""
    first, last, steps = at[1], at[-1], len(at) - 2
    clock = (last.clock - first.clock) / steps
    found = Table(title=f"Processor seconds a step, mean of {steps} steps of {clock:.2f} s")
    for heading in ("", MODEL, DRAWING, "beside", "beside, of the step"):
        found.add_column(heading, justify="right" if heading else "left")
    total = 0.0
    for name in ("driver", "workers"):
        now, then = getattr(last, name), getattr(first, name)
        whole, model, drawing = ((now.get(kind, 0.0) - then.get(kind, 0.0)) / steps for kind in ("", MODEL, DRAWING))
        beside = whole - model - drawing
        total += beside
        found.add_row(name, f"{model:.3f}", f"{drawing:.3f}", f"{beside:.3f}", f"{beside / clock:.1%}")
    found.add_row("both", "", "", f"{total:.3f}", f"{total / clock:.1%}")
    return found


def main() -> int:
    """Prints a table."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    settings = load(TrainSettings, sys.argv[1], sys.argv[2:])
    meter, at = Meter(), list[Spent]()
    meter.watch_models()
    step = Loop.step
    with tempfile.TemporaryDirectory() as folder:
        os.environ[NOTES] = folder

        def noted(loop: Loop, number: int) -> dict[str, float]:
            at.append(spent(meter, Path(folder)))
            return step(loop, number)

        cast(Any, Loop).step = noted
        code = drive(settings, engine=KIND)
    Console().print(table(at))
    return code


if __name__ == "__main__":
    sys.exit(main())
