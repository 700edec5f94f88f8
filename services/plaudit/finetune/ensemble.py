"""Several reward models of the same judgements, to be served as one: how far they differ tells how far to trust them.

    by: seeds    head and order of the rows differ, the rows are the same
    by: folds    each also leaves out another part of the prompts: members that read different judgements err less alike

    output/config.yaml    the run's settings
    output/serve.yaml     `plaudit serve` answers with the members' mean as `ensemble`, with each as `member-0`, ...
    output/member-0/      a reward model's folder, as one model alone has it

A member is done when `plaudit_reward.json` stands in its folder, which is written last. The same settings go on from
there; a member that was not done begins anew.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from plaudit.errors import ConfigurationError
from plaudit.finetune.fitting import Fitting, Judged
from plaudit.finetune.parts import prompt
from plaudit.finetune.reward_settings import SERVE, RewardModelSettings
from plaudit.finetune.training import check_output, prepare_output
from plaudit.outputs import write_text
from plaudit.reward import folder as reward_folder
from plaudit.reward.calibration import Calibration
from plaudit.reward.settings import ServerSettings
from plaudit.settings import parse, to_yaml

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Member:
    """One of them."""

    settings: RewardModelSettings  # of itself alone: the same model again, but for what it leaves out
    training: Fitting[Judged]  # the judgements that it reads
    unit: Calibration | None  # of its raw scores

    @property
    def done(self) -> bool:
        return reward_folder.read(self.settings.output) is not None


def members(settings: RewardModelSettings, training: Fitting[Judged]) -> list[Member]:
    """In order; `training` is what all of them may read."""
    assert settings.ensemble is not None
    count = settings.ensemble.members
    folds = _folds(settings, training, count) if settings.ensemble.by == "folds" else np.full(len(training), -1)
    read = [training.subset(list(folds != place)) for place in range(count)]
    return [Member(_alone(settings, place), one, one.unit) for place, one in enumerate(read)]


def check_ensemble_output(settings: RewardModelSettings) -> None:
    """As `check_output` does, but for a folder that the same settings began."""
    config = settings.output / CONFIG
    if not config.is_file():
        check_output(settings.output)
    elif config.read_text(encoding="utf-8") != to_yaml(settings):
        raise ConfigurationError(
            f"output {settings.output} holds a run of other settings ({config}): give the same, or another folder"
        )


def train_members(settings: RewardModelSettings, found: list[Member], train: Callable[[Member], None]) -> None:
    """Those that are not done yet, by `train`; then writes how to serve them."""
    if not (settings.output / CONFIG).is_file():
        prepare_output(settings.output, settings)
    for member in found:
        if member.done:
            print(f"{member.settings.output} is done already")
            continue
        shutil.rmtree(member.settings.output, ignore_errors=True)  # of a run that was interrupted
        print(f"{member.settings.output}: {len(member.training)} judgements")
        train(member)
    write_text(settings.output / SERVE, served([member.settings.output for member in found]))


def _alone(settings: RewardModelSettings, place: int) -> RewardModelSettings:
    training = replace(settings.training, seed=settings.training.seed + place)
    return replace(settings, training=training, output=settings.folders[place], ensemble=None)


def _folds(settings: RewardModelSettings, training: Fitting[Judged], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(n,) the member that leaves each judgement out; those of one prompt go together."""
    prompts = [repr(prompt(judgement)) for judgement in training.judgements]
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    if len(places) < count:
        raise ConfigurationError(f"{len(places)} different prompts are too few for {count} folds")
    order = np.random.default_rng(settings.training.seed).permutation(len(places))
    return np.array([order[places[prompt]] % count for prompt in prompts])


def served(folders: list[Path]) -> str:
    """Settings of `plaudit serve`."""
    names = [folder.name for folder in folders]
    models = [{"name": "ensemble", "ensemble": {"members": names, "combine": "mean"}}]
    models += [{"name": folder.name, "model": str(folder)} for folder in folders]
    tree = {"models": models}
    parse(ServerSettings, tree, source=SERVE)
    head = "# mean_minus_std, with k, is a pessimist's: its score is high only where all of them agree.\n"
    return head + yaml.safe_dump(tree, sort_keys=False)
