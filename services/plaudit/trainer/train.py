"""`plaudit train settings.yaml`: a PPO run, from its newest checkpoint where it has one."""

from plaudit import settings as plaudit_settings
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.trainer.settings import TrainSettings


def run(path: str, overrides: list[str]) -> int:
    """What can be wrong is found cheapest first: settings, the run folder, data, reward services, Ray, model."""
    settings = plaudit_settings.load(TrainSettings, path, overrides)
    quiet_libraries()
    from plaudit.trainer.wiring import drive  # torch and Ray: not before the settings are known to be right

    return drive(settings)
