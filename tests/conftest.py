"""What all tests share: which of them start Ray, what a skip means, thread counts, and that Ctrl-C reaches programs."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several busy processes with more threads than cores starve
signal.signal(signal.SIGINT, signal.default_int_handler)  # programs inherit "ignored" from a shell's background job

RAY = ("rollout", "trainer", "examples", "ppo/test_learner.py", "iteration/test_iterate.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that start Ray: no more of them at a time than there are workers of pytest, a file each."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(RAY):
            item.add_marker(pytest.mark.ray)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI is set, a system test that skips has failed: the machine was to have what it needs."""
    report = yield
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("system"):
        _, _, reason = report.longrepr
        report.outcome, report.longrepr = "failed", f"{reason} (CI is set, so nothing may be skipped here)"
    return report
