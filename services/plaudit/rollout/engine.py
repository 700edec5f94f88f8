"""What generates inside a worker. The pool and the worker don't know which one it is."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from plaudit.policy.settings import PolicySettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory, Weights

TRANSFORMERS = "plaudit.rollout.transformers_engine:TransformersEngine"


class Engine(Protocol):
    """Built as `kind(policy, settings)`, inside the worker, with the policy's weights as they lie on disk."""

    def load_weights(self, weights: Weights) -> None:
        """Takes over `policy.weights.pack`'s pieces, wholly or (raising) not at all."""
        ...

    def generate(
        self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int
    ) -> Iterator[Trajectory]:
        """One trajectory per request, each as soon as it ends; the same requests give the same ones, bit for bit."""
        ...


def build_engine(kind: str, policy: PolicySettings, settings: RolloutSettings) -> Engine:
    """`kind` is "module:Class", imported only here, where it is needed."""
    module, _, name = kind.partition(":")
    engine: Engine = getattr(importlib.import_module(module), name)(policy, settings)
    return engine
