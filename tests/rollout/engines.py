"""Engines for tests, run inside real workers: they need no model, and some of them die as real ones do."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from plaudit.errors import ConfigurationError
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory, Weights

HERE = "tests.rollout.engines:"


class Echo:
    """A response is its prompt; the log-probabilities say which weights (their sum) were in use."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        self.notes = Path(policy.model)  # a folder that outlives the worker
        self.weights = -1.0

    def load_weights(self, weights: Weights) -> None:
        self.weights = float(weights[0].sum())

    def generate(
        self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int
    ) -> Iterator[Trajectory]:
        for request in requests:
            self.meet(request, requests)
            logprobs = np.array([self.weights], np.float32)
            yield Trajectory(request, request.prompt.token_ids, request.id, logprobs, "length", weight_version)

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        """Before `request` is answered."""

    def first_time(self, note: str) -> bool:
        """Once per `note`, over all workers."""
        try:
            (self.notes / note.replace("/", "_")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def die(self, request: RolloutRequest) -> None:
        """As if out of memory; a note says at what."""
        with (self.notes / "deaths").open("a") as file:
            file.write(f"{request.prompt.id}\n")
        os.kill(os.getpid(), signal.SIGKILL)


class Poisoned(Echo):
    """Prompts 'poison...' kill the process."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        if request.prompt.id.startswith("poison"):
            self.die(request)


class PoisonedAtOnce(Poisoned):
    """They kill it before anything of their group is answered."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        for one in beside:
            super().meet(one, beside)


class DiesOncePerGroup(Echo):
    """Every group kills its first worker."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        if request is beside[0] and self.first_time(request.id):
            self.die(request)


class HangsOnce(Echo):
    """The first group of all never ends."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        if self.first_time("hung"):
            time.sleep(600)


class DiesLoading(Echo):
    """The first transfer of weights after the start kills the worker."""

    def load_weights(self, weights: Weights) -> None:
        if weights[0].sum() > 1 and self.first_time("loading"):
            os.kill(os.getpid(), signal.SIGKILL)
        super().load_weights(weights)


class NeverStarts(Echo):
    """As with too little memory for the model."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class AlwaysDies(Echo):
    """It starts, and no more."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        self.die(request)


class RunsOutOfMemory(Echo):
    """The prompt 'poison' needs more than there is."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        if any(one.prompt.id == "poison" for one in beside):
            raise MemoryError("tried to allocate\n80 GiB")


class Slow(Echo):
    """A tenth of a second for each response."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        time.sleep(0.1)


class SlowPoison(Poisoned):
    """A quarter of a second for each response, noted; then the poison."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        super().meet(request, beside)
        time.sleep(0.25)
        with (self.notes / "answered").open("a") as file:
            file.write(f"{request.prompt.id}\n")


class SlowToTheEnd(Slow):
    """Half a minute for the prompts 'slow', once: another worker is quick at them."""

    def meet(self, request: RolloutRequest, beside: Sequence[RolloutRequest]) -> None:
        super().meet(request, beside)
        if request.prompt.id == "slow" and self.first_time("slow"):
            time.sleep(30)


class Forgetful(Echo):
    """The last response gets lost."""

    def generate(
        self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int
    ) -> Iterator[Trajectory]:
        yield from super().generate(requests[:-1], sampling, weight_version)


class Misconfigured(Echo):
    """As on a node that lacks the model's folder."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        raise ConfigurationError(f"no model folder '{policy.model}' on this node")
