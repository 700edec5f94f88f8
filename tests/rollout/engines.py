"""Engines for tests, run inside real workers: they need no model, and some of them die as real ones do."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plaudit.errors import ConfigurationError
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory

HERE = "tests.rollout.engines:"


class Echo:
    """A response is its prompt; the log-probabilities say which weights (their sum) were in use."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        self.notes = Path(policy.model)  # a folder that outlives the worker
        self.weights = -1.0

    def load_weights(self, weights: np.ndarray) -> None:
        self.weights = float(weights.sum())

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int) -> list[Trajectory]:
        return [
            Trajectory(r, r.prompt.token_ids, r.id, np.array([self.weights], np.float32), "length", weight_version)
            for r in requests
        ]

    def first_time(self, note: str) -> bool:
        """Once per `note`, over all workers."""
        try:
            (self.notes / note.replace("/", "_")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Poisoned(Echo):
    """The prompt 'poison' kills the process."""

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int) -> list[Trajectory]:
        if any(request.prompt.id == "poison" for request in requests):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(requests, sampling, weight_version)


class DiesOncePerGroup(Echo):
    """Every group kills its first worker."""

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int) -> list[Trajectory]:
        if self.first_time(requests[0].id):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(requests, sampling, weight_version)


class HangsOnce(Echo):
    """The first group of all never ends."""

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int) -> list[Trajectory]:
        if self.first_time("hung"):
            time.sleep(600)
        return super().generate(requests, sampling, weight_version)


class DiesLoading(Echo):
    """The first transfer of weights after the start kills the worker."""

    def load_weights(self, weights: np.ndarray) -> None:
        if weights.sum() > 1 and self.first_time("loading"):
            os.kill(os.getpid(), signal.SIGKILL)
        super().load_weights(weights)


class NeverStarts(Echo):
    """As with too little memory for the model."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class RunsOutOfMemory(Echo):
    """The prompt 'poison' needs more than there is."""

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int) -> list[Trajectory]:
        if any(request.prompt.id == "poison" for request in requests):
            raise MemoryError("tried to allocate\n80 GiB")
        return super().generate(requests, sampling, weight_version)


class Misconfigured(Echo):
    """As on a node that lacks the model's folder."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        raise ConfigurationError(f"no model folder '{policy.model}' on this node")
