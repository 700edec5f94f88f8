"""`plaudit top` as a user runs it: in a terminal, and into a pipe."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.top.processes import FIRST, SECOND, ServedRun, served

COMMAND = [sys.executable, "-m", "plaudit.cli", "top"]
ENTER, LEAVE, SHOW_CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """The end of a pseudo-terminal where the person sits; `seen` is all that was written to it."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid, self.fd, self.seen = pid, fd, b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, pattern: bytes, since: int = 0, within: float = 60.0) -> int:
        """Reads until `pattern` was written after `since`; returns how much has been."""
        deadline = time.monotonic() + within
        while not re.search(pattern, self.seen[since:], re.DOTALL):
            assert time.monotonic() < deadline, self.seen[since:]
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 1 << 16)
                except OSError:  # Linux's end of a terminal
                    raise AssertionError(self.seen[since:]) from None
        return len(self.seen)

    def ends(self, within: float = 20.0) -> int:
        """The exit code."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 1 << 16)
                except OSError:
                    return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        raise AssertionError("it goes on")


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """80 columns and 24 rows."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        os.execve(sys.executable, [*COMMAND, *arguments], {**environment, "TERM": "xterm-256color"})
    found = Terminal(pid, fd)
    try:
        yield found
    finally:
        os.close(fd)
        if _lives(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _lives(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def test_the_screen_lives_is_resized_and_leaves_the_terminal_as_it_was() -> None:
    run = ServedRun(Path("/short"))
    run.step(FIRST)
    with served(run) as address, terminal(address, "--every", "0.2") as screen:
        before = termios.tcgetattr(screen.fd)
        screen.until(b"-0.500")
        assert ENTER in screen.seen
        run.step(SECOND)
        at = screen.until(rb"\+0\.500")
        screen.resize(60, 8)
        screen.until(rb" \d+ more lines", since=at)
        at = len(screen.seen)
        screen.resize(150, 40)
        screen.until(("─" * 90).encode(), since=at)
        os.write(screen.fd, b"\x03")  # Ctrl-C, as the terminal's driver has it
        assert screen.ends() == 130
        assert termios.tcgetattr(screen.fd) == before
    assert screen.seen.index(LEAVE) < screen.seen.index(b"plaudit top: interrupted")
    assert SHOW_CURSOR in screen.seen
    assert screen.seen.rstrip().endswith(b"interrupted")


def test_it_sees_who_goes_away_and_comes_back(tmp_path: Path) -> None:
    run = ServedRun(tmp_path)
    with ExitStack() as first:
        address = first.enter_context(served(run))
        with terminal(address, "--every", "0.2") as screen:
            screen.until(b"of 10")
            first.close()
            at = screen.until(rb"unreachable.{0,30}since \d\d:\d\d:\d\d.*connection refused")
            run.step(FIRST)
            with served(run, int(address.rpartition(":")[2])):
                screen.until(b"-0.500", since=at)
            os.kill(screen.pid, signal.SIGTERM)
            assert screen.ends() == 143
    assert LEAVE in screen.seen


@pytest.mark.parametrize("options", [["--once"], []])
def test_into_a_pipe_goes_one_plain_frame(tmp_path: Path, options: list[str]) -> None:
    run = ServedRun(tmp_path)
    run.step(FIRST)
    run.step(SECOND, took=5.0)
    with served(run) as address:
        done = subprocess.run(
            [*COMMAND, address, "--every", "0.1", *options], capture_output=True, text=True, timeout=60
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert " step     2 of 10  ━━━━━━━━━━━━━━━━━━━━  480 steps/h  1 min left\n" in done.stdout
    assert " phases   60 % generate  40 % update\n" in done.stdout
    assert " pool     1 version  4 queued  1 restarts  0 re-dispatched  0 dropped\n" in done.stdout
    assert done.stdout.count("plaudit top") == 1


def test_nobody_there_is_exit_code_69() -> None:
    done = subprocess.run(
        [*COMMAND, "--once", "--every=0.1", "127.0.0.1:1"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 69
    assert "unreachable since" in done.stdout
    assert done.stderr.startswith("plaudit top: nobody answers")


@pytest.mark.parametrize("every", ["0", "-1", "soon", "nan", "3601"])
def test_looks_are_neither_too_frequent_nor_too_rare(every: str) -> None:
    done = subprocess.run([*COMMAND, "127.0.0.1:1", f"--every={every}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--every" in done.stderr.splitlines()[-1]
