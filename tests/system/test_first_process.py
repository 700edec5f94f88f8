"""A container's first process: the kernel gives it no default for SIGTERM. What it does not handle it does not hear."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from plaudit.errors import TERMINATED

from .machines import children, why_not
from .ray_nodes import BIN
from .watching import until

pytestmark = [pytest.mark.system, pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")]


@pytest.mark.parametrize("command", ["train", "serve"])
def test_it_goes_when_it_is_told_to_before_it_has_begun(command: str, tmp_path: Path) -> None:
    """Nobody writes into the pipe that its settings come from: it gets no further than to open it."""
    settings = tmp_path / "settings.yaml"
    os.mkfifo(settings)
    new = ["unshare", "--pid", "--fork", "--mount-proc"]
    container = subprocess.Popen([*new, BIN / "plaudit", command, settings])
    try:
        until(lambda: children(container.pid), 20, "the first process")
        [first] = children(container.pid)
        until(lambda: handles_sigterm(first), 20, "it to handle SIGTERM")
        os.kill(first, signal.SIGTERM)
        assert container.wait(10) == TERMINATED
    finally:
        for pid in children(container.pid):
            os.kill(pid, signal.SIGKILL)
        container.wait(10)


def handles_sigterm(pid: int) -> bool:
    [caught] = re.findall(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
