"""`plaudit train settings.yaml`: a PPO run, from its newest checkpoint where it has one."""

import signal
import threading

from plaudit import settings as plaudit_settings
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.trainer.settings import TrainSettings

TERMINATED = 143
"""Exit code after a checkpoint on SIGTERM."""


def run(path: str, overrides: list[str]) -> int:
    """What can be wrong is found cheapest first: settings, the run folder, data, reward server, Ray, model."""
    settings = plaudit_settings.load(TrainSettings, path, overrides)
    quiet_libraries()
    from plaudit.trainer.run import wired  # torch and Ray: not before the settings are known to be right

    with wired(settings) as found:
        stop = _stop_on_sigterm()  # after Ray has started: it installs a handler that aborts
        return TERMINATED if found.drive(stop) else 0


def _stop_on_sigterm() -> threading.Event:
    """Set by SIGTERM; the loop looks at it after each step."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop
