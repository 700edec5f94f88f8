"""Our own programs in processes of their own: started, waited for, measured from outside, ended whatever comes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import psutil

from plaudit.addresses import split_address

HERE = Path(__file__).parent
PATIENCE = 120.0
"""Seconds for a contender to load its model and come up."""


class Child:
    """`python ARGUMENTS`, ready when it has written JSON into the file that {ready} in its arguments stands for.

    One that reads commands takes a line of JSON and answers with one; it ends when its input does. Its output is ours
    to read; what it says on standard error is shown.
    """

    def __init__(self, *arguments: str, threads: int = 1) -> None:
        self._arguments, self._threads = arguments, threads
        self.says: dict[str, Any] = {}  # what it wrote when it was ready

    def __enter__(self) -> "Child":
        signal.signal(signal.SIGTERM, _stop)  # else it would leave what we started behind
        with tempfile.TemporaryDirectory() as folder:
            ready = Path(folder) / "ready.json"
            arguments = [argument.replace("{ready}", str(ready)) for argument in self._arguments]
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(self._threads),
                start_new_session=True,  # Ctrl-C reaches us alone, and we end it
            )
            try:
                self.says = self._wait_for(ready)
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(self.says["address"])

    @property
    def port(self) -> int:
        """Where it listens, on this machine."""
        return split_address(self.address)[1]

    def ask(self, **command: Any) -> dict[str, Any]:
        """One command, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._arguments[0]} ended in the middle of the measurement: its messages are above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def cpu(self) -> float:
        """Seconds of processor time so far, user and system, of it and the processes it started."""
        used = [process.cpu_times() for process in self._family()]
        return float(sum(one.user + one.system for one in used))

    def memory(self) -> int:
        """Resident bytes, of it and the processes it started."""
        return int(sum(process.memory_info().rss for process in self._family()))

    def _family(self) -> list[psutil.Process]:
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def _wait_for(self, ready: Path) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise SystemExit(f"{' '.join(self._arguments)} did not start: its messages are above")
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                found: dict[str, Any] = json.loads(ready.read_text())
                return found
            time.sleep(0.05)
        raise SystemExit(f"{' '.join(self._arguments)} was not ready within {PATIENCE:g} s")

    def _end(self) -> None:
        """Asks it to end, waits, and then makes sure of everything it started."""
        family = self._family() if self._process.poll() is None else []
        self._process.send_signal(signal.SIGTERM)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream and stream.close()
        _, left = psutil.wait_procs(family, timeout=15)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def environment(threads: int) -> dict[str, str]:
    """Finds our modules beside plaudit's, and gives every library that computes `threads` threads."""
    paths = [str(HERE), *sys.path[1:]]
    count = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **count, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def write_ready(path: str, **says: object) -> None:
    """How a contender tells that it is ready: at once whole, since somebody looks at it all the time."""
    part = Path(path + ".part")
    part.write_text(json.dumps(says))
    part.replace(path)


def take_output() -> TextIO:
    """For a contender that answers commands: its output for the answers alone. Whatever else is printed is dropped."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return output


def obey(do: Callable[[dict[str, Any]], dict[str, Any]], output: TextIO) -> None:
    """Answers commands until there are no more."""
    for line in sys.stdin:
        print(json.dumps(do(json.loads(line))), file=output, flush=True)
