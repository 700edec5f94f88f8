"""Progress bars for long work: one look for every program; plain lines where there is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_LINE_SECONDS = 15.0


class Bar:
    """One bar on standard error."""

    def __init__(self, progress: Progress, task: TaskID, name: str, total: int) -> None:
        self._progress, self._task, self._name, self._total = progress, task, name, total
        self.done = 0
        self._note = ""
        self._last_line = time.monotonic()

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more units are done; `note` is shown behind the bar."""
        self.done += count
        self.note(note if note is not None else self._note)
        self._progress.advance(self._task, count)
        self._plain_line()

    def note(self, text: str) -> None:
        """Changes the text behind the bar."""
        self._note = text
        self._progress.update(self._task, note=text)

    def _plain_line(self) -> None:
        """Where no bar can be drawn (a log file), a line now and then says the same."""
        if self._progress.console.is_terminal:
            return
        if self.done < self._total and time.monotonic() - self._last_line < PLAIN_LINE_SECONDS:
            return
        self._last_line = time.monotonic()
        self._progress.console.print(f"{self._name}: {self.done}/{self._total} {self._note}".rstrip(), highlight=False)


@contextmanager
def bar(name: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A bar of `total` units, of which `done` are done already."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total, completed=done, note="")
        shown = Bar(progress, task, name, total)
        shown.done = done
        yield shown
