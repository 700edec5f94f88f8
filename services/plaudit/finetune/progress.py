"""A trl trainer's progress: one bar on the terminal, one JSON object per step in metrics.jsonl."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from plaudit.outputs import json_line
from plaudit.telemetry.progress import Bar, bar


class ProgressCallback(TrainerCallback):
    """Shown and recorded at every optimiser step."""

    def __init__(self, name: str, shown_metric: str, metrics: TextIO, open_bars: ExitStack) -> None:
        self._name, self._shown_metric = name, shown_metric
        self._metrics, self._open_bars = metrics, open_bars
        self._bar: Bar | None = None
        self._note = ""
        self._started = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._started = time.monotonic()
        self._bar = self._open_bars.enter_context(bar(self._name, state.max_steps))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.advance(note=self._note)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = dict(logs or {})
        if self._shown_metric in logs:
            self._note = f"{self._shown_metric} {float(logs[self._shown_metric]):.3f}"
        entry = {"step": state.global_step, "time": round(time.monotonic() - self._started, 3), **logs}
        self._metrics.write(json_line(entry))
        self._metrics.flush()


@contextmanager
def progress(name: str, shown_metric: str, folder: Path) -> Iterator[ProgressCallback]:
    """The callback for one training run; its bar is taken down however the run ends."""
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as metrics, ExitStack() as open_bars:
        yield ProgressCallback(name, shown_metric, metrics, open_bars)
