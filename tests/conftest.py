"""What all tests share: how they are spread over processes, and how many threads each process has."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several busy processes with more threads than cores starve

RAY = ("rollout", "trainer", "ppo/test_learner.py")
"""Tests that start Ray. All in one process, one after the other: two Rays at a time on one small machine lose nodes."""


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups the tests with Ray for xdist's `loadgroup`, first of all, since they take longest."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(RAY):
            item.add_marker(pytest.mark.xdist_group("ray"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
