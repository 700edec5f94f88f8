"""SIGTERM in each phase of a step: given up, or ended first; and when there is no time left."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.trainer.control import Control, State, StepGivenUp


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """With its handler of SIGTERM, here in the main thread."""
    before = signal.getsignal(signal.SIGTERM)
    found = Control(tmp_path, 10)
    yield found
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.05)


@pytest.mark.parametrize("phase", ["samples", "generate", "score", "evaluate"])
def test_sigterm_gives_up_a_step_that_has_moved_nothing(control: Control, phase: str) -> None:
    control.on_sigterm(60, lambda: None)
    control.enter(phase)
    control.check()
    terminate()
    assert control.stopping
    with pytest.raises(StepGivenUp):
        control.check()
    with pytest.raises(StepGivenUp):
        control.enter("update")
    control.leave()
    assert (control.status.state, control.status.phase) == (State.STOPPING, "")


@pytest.mark.parametrize("phase", ["update", "sync", ""])
def test_sigterm_lets_a_step_that_has_begun_to_learn_end(control: Control, phase: str) -> None:
    control.on_sigterm(60, lambda: None)
    control.enter(phase)
    for _ in range(2):
        terminate()
    control.check()
    control.enter("sync")
    assert control.stopping


def test_a_run_that_is_closed_in_time_is_not_ended_again(control: Control) -> None:
    left = threading.Event()
    control.on_sigterm(0.2, left.set)
    terminate()
    control.end(State.STOPPED)
    control.closed()
    assert not left.wait(0.5)


def test_what_takes_too_long_to_close_is_left(control: Control) -> None:
    """As Ray, whose head is away: whoever sent the signal kills soon."""
    left = threading.Event()
    control.on_sigterm(0.2, left.set)
    terminate()
    control.end(State.STOPPED)
    assert left.wait(5)


def test_sigterm_ends_a_pause(control: Control) -> None:
    control.on_sigterm(60, lambda: None)
    control.pause()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    control.between_steps(Path)
    assert control.status.state is State.STOPPING


def test_when_the_grace_period_is_over_nothing_is_waited_for(control: Control) -> None:
    left = threading.Event()
    control.on_sigterm(0.5, left.set)
    control.enter("update")
    terminate()
    assert not left.is_set()
    assert left.wait(5)
