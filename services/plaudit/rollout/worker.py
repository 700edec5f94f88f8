"""One rollout worker: a Ray actor around an engine.

It does one thing at a time, so that it never generates with half-loaded weights. Importing this module imports neither
torch nor transformers: the driver needs only the actor's name.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from plaudit.errors import RunFailed
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.engine import Engine, build_engine
from plaudit.rollout.settings import RolloutSettings
from plaudit.telemetry import tracing
from plaudit.telemetry.tracing import RunTracingSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory, Weights

ON_DISK = -1
"""The version of the weights that a worker finds on disk."""


class Report(NamedTuple):
    """What a worker says of its group."""

    trajectories: list[Trajectory]  # that ended since the last one
    span: tracing.Record | None = None  # with the last one, where the group is traced


class RolloutWorker:
    """Made by the pool with `ray.remote`."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._version = ON_DISK

    def start(
        self,
        kind: str,
        policy: PolicySettings,
        settings: RolloutSettings,
        version: int,
        weights: Weights | None,
        traced: RunTracingSettings | None = None,
    ) -> int:
        """Builds the engine and gives it its first weights, None for those on disk; returns the process id."""
        if traced is not None:
            tracing.start("rollout worker", traced.endpoint)
        self._engine = build_engine(kind, policy, settings)
        if weights is not None:
            self.set_weights(version, weights)
        return os.getpid()

    def set_weights(self, version: int, weights: Weights) -> int:
        """Returns the version in use: a transfer that comes late never replaces a newer one."""
        assert self._engine is not None
        if version >= self._version:
            self._engine.load_weights(weights)
            self._version = version
        return self._version

    def generate(
        self,
        requests: Sequence[RolloutRequest],
        sampling: Sampling,
        report_every_s: float,
        traceparent: str | None = None,
    ) -> Iterator[Report]:
        """Those that ended since the last report, stamped with the version they were sampled with.

        A report costs about a millisecond on either side: no more often than `report_every_s`.
        """
        assert self._engine is not None
        ended: list[Trajectory] = []
        count, tokens, reported = 0, 0, time.monotonic()
        me = f"{socket.gethostname()}:{os.getpid()}"
        asked: dict[str, tracing.Attribute] = {"worker": me, "policy_version": self._version, "requests": len(requests)}
        with tracing.remote("worker.generate", traceparent, asked) as traced:
            for trajectory in self._engine.generate(requests, sampling, self._version):
                ended.append(trajectory)
                count, tokens = count + 1, tokens + len(trajectory.response_ids)
                if time.monotonic() - reported >= report_every_s:
                    yield Report(ended)
                    ended, reported = [], time.monotonic()
            if count != len(requests):
                raise RunFailed(f"{type(self._engine).__name__} made {count} trajectories for {len(requests)} requests")
            traced.span.set_attribute("tokens", tokens)
        yield Report(ended, traced.record)

    def flush(self) -> None:
        """Sends the spans that are still here."""
        tracing.flush()
