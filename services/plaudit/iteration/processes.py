"""Programs as child processes: started, waited for, and all ended however whoever started them ends.

Each is a process group of its own, so that Ctrl-C reaches it through us alone, once.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from plaudit.errors import PlauditError

GRACE_SECONDS = 30.0
"""How long a program may take to end itself, with a checkpoint, before it is killed."""
READY_SECONDS = 300.0
"""How long one may take to load its models."""


class ProgramFailed(PlauditError):
    """A program ended with another exit code than 0; its own last words say why."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(f"{name} failed with exit code {exit_code}")
        self.exit_code = exit_code


class Programs:
    """A context: leaving it ends every program that is still running, and what these have started themselves."""

    def __init__(self, environment: Mapping[str, str], end_by: signal.Signals = signal.SIGINT) -> None:
        self._environment, self._end_by = {**os.environ, **environment}, end_by
        self._running: list[subprocess.Popen[bytes]] = []
        self._before: set[psutil.Process] = set()

    def __enter__(self) -> Self:
        self._before = set(psutil.Process().children())  # somebody else's
        return self

    def __exit__(self, *_: object) -> None:
        descendants = [one for child in psutil.Process().children() if child not in self._before for one in tree(child)]
        for program in reversed(self._running):
            self._interrupt(program)
        for program in reversed(self._running):
            _wait_or_kill(program)
        _kill(descendants)

    def run(self, name: str, command: Sequence[str]) -> None:
        """Runs a program to its end, its output on the terminal. Raises ProgramFailed."""
        program = self._start(command, None)
        exit_code = program.wait()
        self._running.remove(program)
        if exit_code:
            raise ProgramFailed(name, exit_code)

    def serve(
        self, name: str, command: Sequence[str], log: Path, ready: Path, timeout: float = READY_SECONDS
    ) -> "subprocess.Popen[bytes]":
        """Starts a program that stays, and waits until it has written `ready`. Raises ProgramFailed."""
        ready.unlink(missing_ok=True)
        with log.open("wb") as output:
            program = self._start(command, output.fileno())
        give_up = time.monotonic() + timeout
        while not ready.is_file():
            exit_code = program.poll()
            if exit_code is not None or time.monotonic() > give_up:
                print(log.read_text(encoding="utf-8", errors="replace")[-2_000:], file=sys.stderr)
                raise ProgramFailed(name, exit_code or 69)
            time.sleep(0.1)
        return program

    def end(self, program: "subprocess.Popen[bytes]") -> None:
        """One that stays, before the others."""
        self._interrupt(program)
        _wait_or_kill(program)
        self._running.remove(program)

    def _start(self, command: Sequence[str], output: int | None) -> "subprocess.Popen[bytes]":
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

    def _interrupt(self, program: "subprocess.Popen[bytes]") -> None:
        if program.poll() is None:
            program.send_signal(self._end_by)


def tree(process: psutil.Process) -> list[psutil.Process]:
    """It and all below it; nothing of one that has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _wait_or_kill(program: "subprocess.Popen[bytes]") -> None:
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
