"""Programs of an example: their failures are named, and nothing that they started outlives them."""

import sys
import time

import psutil
import pytest
from processes import ProgramFailed, Programs

SLEEPS_WITH_A_CHILD = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_failure_keeps_its_exit_code():
    with pytest.raises(ProgramFailed, match="the world failed with exit code 3") as failed, Programs({}) as programs:
        programs.run("the world", [sys.executable, "-c", "raise SystemExit(3)"])
    assert failed.value.exit_code == 3


def test_environment_reaches_the_program(tmp_path):
    with Programs({"DEMO": "yes"}) as programs:
        code = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['DEMO'])"
        programs.run("env", [sys.executable, "-c", code, str(tmp_path / "out")])
    assert (tmp_path / "out").read_text() == "yes"


def test_leaving_ends_a_server_and_what_it_started(tmp_path):
    ready = tmp_path / "ready"
    with Programs({}) as programs:
        programs.serve("server", [sys.executable, "-c", SLEEPS_WITH_A_CHILD, str(ready)], tmp_path / "log", ready)
        child = int(ready.read_text())
        assert not gone(child)
    assert gone(child)


def test_a_server_that_ends_before_it_is_ready(tmp_path, capfd):
    code = "import sys; print('port in use', file=sys.stderr); raise SystemExit(2)"
    with Programs({}) as programs, pytest.raises(ProgramFailed, match="exit code 2"):
        programs.serve("server", [sys.executable, "-c", code], tmp_path / "log", tmp_path / "ready")
    assert "port in use" in capfd.readouterr().err


def test_memory_of_children_counts():
    with Programs({}) as programs:
        time.sleep(1.5)
        alone = programs.memory.peak_bytes
        hold = "import time; block = bytearray(b'x') * 200_000_000; time.sleep(2.5)"
        programs.run("holder", [sys.executable, "-c", hold])
    assert 0 < alone < programs.memory.peak_bytes - 150_000_000
