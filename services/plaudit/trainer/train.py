"""`plaudit train settings.yaml`: a PPO run, from its newest checkpoint where it has one."""

import os
import sys

from plaudit import settings as plaudit_settings
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.trainer.settings import TrainSettings

TERMINATED = 143
"""Exit code after a checkpoint on SIGTERM."""


def run(path: str, overrides: list[str]) -> int:
    """What can be wrong is found cheapest first: settings, the run folder, data, reward server, Ray, model."""
    settings = plaudit_settings.load(TrainSettings, path, overrides)
    quiet_libraries()
    from plaudit.trainer.control import State
    from plaudit.trainer.run import wired  # torch and Ray: not before the settings are known to be right

    with wired(settings) as found:
        control = found.control
        control.on_sigterm(settings.checkpoints.grace_s, _leave)  # after Ray's start: it installs one that aborts
        ending = found.drive()
    return TERMINATED if ending is State.STOPPED and control.terminated else 0


def _leave() -> None:
    """The grace period is over and an update is still under way: what resumes goes on from the checkpoint before."""
    print("plaudit train: no checkpoint within checkpoints.grace_s; the one before holds", file=sys.stderr, flush=True)
    os._exit(TERMINATED)
