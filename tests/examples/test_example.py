"""What every example's program does: claims its folder, and on Ctrl-C ends all that it started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from example import claim

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(path.parent.name for path in EXAMPLES.glob("*/run.py"))


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_ends_everything_quickly(tmp_path, name):
    """Stopped in its first phase it leaves no process behind."""
    command = [sys.executable, str(EXAMPLES / name / "run.py"), "--folder", str(tmp_path / "run")]
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    started = time.monotonic()
    while not (children := psutil.Process(program.pid).children()) and time.monotonic() < started + 20:
        time.sleep(0.05)
    os.kill(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=20)
    assert program.returncode == 130
    assert f"{name}: interrupted" in errors.decode()
    assert children
    assert all(gone(child.pid) for child in children)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, name):
    (tmp_path / "thesis.txt").write_text("mine")
    command = [sys.executable, str(EXAMPLES / name / "run.py"), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "holds something else: choose another --folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_older_run_is_replaced_but_nothing_else(tmp_path):
    folder = tmp_path / "run"
    assert claim(folder, "digits")
    (folder / "old").touch()
    assert claim(folder, "digits")
    assert [path.name for path in folder.iterdir()] == [".plaudit-digits"]
    (folder / "old").touch()
    assert claim(folder, "digits", keep=True)
    assert (folder / "old").exists()
    assert not claim(folder, "keyword", keep=True)
    assert not claim(folder, "keyword")
    assert not claim(tmp_path, "digits")
    assert folder.is_dir()
