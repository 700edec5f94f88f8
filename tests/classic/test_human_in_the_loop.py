"""The textbook's program at a terminal: someone types numbers, it learns, logs and saves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

from policy.tiny import tiny_gpt2
from safetensors.torch import load_file

EXAMPLE = Path(__file__).parents[2] / "examples" / "human_in_the_loop"
QUESTION = b"whole number: "


def test_ratings_typed_at_a_terminal_are_learnt_from(tmp_path: Path):
    tiny_gpt2(tmp_path / "gpt2")
    shutil.copy(EXAMPLE / "prompts.jsonl", tmp_path)
    process, descriptor = start(tmp_path)
    output, typed, until = b"", 0, time.monotonic() + 120
    while process.poll() is None or select.select([descriptor], [], [], 0)[0]:
        assert time.monotonic() < until, output.decode()
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        try:
            output += os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            break
        if output.count(QUESTION) > typed:
            typed += 1
            os.write(descriptor, f"{typed}\n".encode())
    assert process.wait(timeout=20) == 0, output.decode()
    assert typed == 4
    assert b"saved in my_ppo_model" in output
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("gpt2", "my_ppo_model"))
    assert any(not bool((before[name] == after[name]).all()) for name in before)
    assert list((tmp_path / "logs").rglob("events.out*"))


def start(folder: Path) -> tuple["subprocess.Popen[bytes]", int]:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache"), "TERM": "dumb"}
    program = [sys.executable, str(EXAMPLE / "program.py")]
    process = subprocess.Popen(program, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    return process, ours
