"""Programs of an example as child processes: started, waited for, measured, and all ended however the example ends."""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

GRACE_SECONDS = 15.0
"""How long a program may take to end itself before it is killed."""


class ProgramFailed(Exception):
    """A program ended with another exit code than 0; its own last words say why."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(f"{name} failed with exit code {exit_code}")
        self.exit_code = exit_code


class Programs:
    """A context: leaving it ends every program that is still running, and what these have started themselves."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._running: list[subprocess.Popen[bytes]] = []
        self._before: set[psutil.Process] = set()
        self.memory = PeakMemory()

    def __enter__(self) -> Self:
        self._before = set(psutil.Process().children())  # somebody else's
        self.memory.start()
        return self

    def __exit__(self, *_: object) -> None:
        descendants = [
            one for child in psutil.Process().children() if child not in self._before for one in _tree(child)
        ]
        for program in reversed(self._running):
            _interrupt(program)
        for program in reversed(self._running):
            _wait_or_kill(program)
        _kill(descendants)
        self.memory.stop()

    def run(self, name: str, command: Sequence[str]) -> None:
        """Runs a program to its end, its output on the terminal. Raises ProgramFailed."""
        program = self._start(command, None)
        exit_code = program.wait()
        self._running.remove(program)
        if exit_code:
            raise ProgramFailed(name, exit_code)

    def serve(self, name: str, command: Sequence[str], log: Path, ready: Path, timeout: float = 120.0) -> None:
        """Starts a program that stays, and waits until it has written `ready`. Raises ProgramFailed."""
        with log.open("wb") as output:
            program = self._start(command, output.fileno())
        give_up = time.monotonic() + timeout
        while not ready.is_file():
            exit_code = program.poll()
            if exit_code is not None or time.monotonic() > give_up:
                print(log.read_text(encoding="utf-8", errors="replace")[-2_000:])
                raise ProgramFailed(name, exit_code or 69)
            time.sleep(0.1)

    def _start(self, command: Sequence[str], output: int | None) -> subprocess.Popen[bytes]:
        """In a process group of its own, so that Ctrl-C reaches it through us alone, once."""
        program = subprocess.Popen(
            command,
            env=self._environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running.append(program)
        return program


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
            for process in _tree(psutil.Process()):
                with suppress(psutil.Error):  # it is gone
                    if (role := self._role(process)) is not None:
                        now[role] += _memory(process)
            self.peaks |= now  # the larger of both, role by role
            self.peak_bytes = max(self.peak_bytes, now.total())


def _memory(process: psutil.Process) -> int:
    """Proportional set size where the system knows it (Linux), else resident set size."""
    full = process.memory_full_info()
    return int(getattr(full, "pss", full.rss))


def _tree(process: psutil.Process) -> list[psutil.Process]:
    """It and all below it; nothing of one that has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _interrupt(program: subprocess.Popen[bytes]) -> None:
    if program.poll() is None:
        program.send_signal(signal.SIGINT)


def _wait_or_kill(program: subprocess.Popen[bytes]) -> None:
    try:
        program.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _kill(processes: Sequence[psutil.Process]) -> None:
    """What the programs started and left behind."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=GRACE_SECONDS)
