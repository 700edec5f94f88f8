"""What all tests share: which of them start Ray, how many threads each process has, and that Ctrl-C reaches it."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several busy processes with more threads than cores starve
signal.signal(signal.SIGINT, signal.default_int_handler)  # programs inherit "ignored" from a shell's background job

RAY = ("rollout", "trainer", "ppo/test_learner.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that start Ray: they run one after the other, two Rays on one small machine lose nodes."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(RAY):
            item.add_marker(pytest.mark.ray)
