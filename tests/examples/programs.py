"""Starts examples as readers do, and reads what they leave behind."""

import os
import subprocess
import sys
from pathlib import Path

from plaudit.report import run_folder
from plaudit.report.estimates import HeldOut, held_out

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    """`run.py` of an example; what it printed, on a terminal of 80 columns."""
    return script(f"{name}/run.py", "--folder", str(folder), *arguments)


def script(path: str, *arguments: str) -> str:
    """What a program under examples/ printed."""
    command = [sys.executable, str(EXAMPLES / path), *arguments]
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3_600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def before_and_after(folder: Path) -> tuple[HeldOut, HeldOut]:
    """Of the held-out samples of a PPO run."""
    rows = held_out(run_folder.read(folder))
    return rows[0], rows[-1]
