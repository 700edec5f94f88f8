"""Small learners for tests."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.ppo.learner import Learner, LocalLearner
from plaudit.ppo.settings import KLSettings, PPOSettings
from plaudit.ppo.targets import Targets, make_targets
from plaudit.trajectory import TrainingBatch

State = dict[str, npt.NDArray[np.generic]]

TEMPERATURE = 0.7
LORA = LoraSettings(rank=4, alpha=8.0)
LIVELY = PPOSettings(
    learning_rate=3e-3, epochs=2, minibatches=2, max_grad_norm=10.0, adam_eps=1e-2, sampler_correction="none"
)
"""Moves a tiny model visibly in one update. With such an epsilon Adam's steps are smooth: rounding stays rounding. No
sampler's correction: ragged batches come from none."""
FULL_KL = dataclasses.replace(LIVELY, kl=KLSettings(estimator="full"))


def local(
    folder: Path,
    ppo: PPOSettings = LIVELY,
    lora: LoraSettings | None = None,
    reference: PolicySettings | None = None,
) -> LocalLearner:
    policy = PolicySettings(model=str(folder), lora=lora)
    return LocalLearner(policy, ppo, TEMPERATURE, seed=5, reference=reference)


def targets_of(learner: Learner, batch: TrainingBatch, ppo: PPOSettings = LIVELY, kl_coef: float = 0.1) -> Targets:
    return make_targets(batch, learner.evaluate(batch), kl_coef, ppo)[0]


def learn(learner: Learner, batches: list[TrainingBatch], ppo: PPOSettings = LIVELY) -> list[dict[str, float]]:
    """One step after another, as the loop does."""
    return [learner.update(batch, targets_of(learner, batch, ppo), step) for step, batch in enumerate(batches)]


def state_of(learner: Learner) -> State:
    """A copy of what a checkpoint would hold."""
    with TemporaryDirectory() as folder:
        learner.save_state(Path(folder) / "state")
        return load_file(Path(folder) / "state")


def put_state(learner: Learner, state: State) -> None:
    """As a checkpoint would."""
    with TemporaryDirectory() as folder:
        save_file(state, Path(folder) / "state")
        learner.load_state(Path(folder) / "state")
