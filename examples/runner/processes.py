"""Programs of an example as child processes, as `plaudit iterate` starts its own, and how much memory they had."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

import psutil

from plaudit.iteration import processes
from plaudit.iteration.processes import ProgramFailed, tree

__all__ = ["PeakMemory", "ProgramFailed", "Programs"]


class Programs(processes.Programs):
    """Measured too."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self.memory = PeakMemory()

    def __enter__(self) -> Self:
        self.memory.start()
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.memory.stop()


class PeakMemory:
    """The most memory that this process and all its descendants had at one moment, pages they share counted once.

    `role` says what a process is, None that it does not count: `peaks` has the most of each at one moment.
    """

    def __init__(self, every: float = 1.0, role: Callable[[psutil.Process], str | None] = lambda _: "program") -> None:
        self.peak_bytes = 0
        self.peaks: Counter[str] = Counter()
        self._every, self._role = every, role
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begins to look, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._every):
            now: Counter[str] = Counter()
            for process in tree(psutil.Process()):
                with suppress(psutil.Error):  # it is gone
                    if (role := self._role(process)) is not None:
                        now[role] += _memory(process)
            self.peaks |= now  # the larger of both, role by role
            self.peak_bytes = max(self.peak_bytes, now.total())


def _memory(process: psutil.Process) -> int:
    """Proportional set size where the system knows it (Linux), else resident set size."""
    full = process.memory_full_info()
    return int(getattr(full, "pss", full.rss))
