"""The worker itself, without Ray around it: which weights it serves, and how light its module is."""

import subprocess
import sys

import numpy as np
import pytest

from plaudit.policy.settings import PolicySettings
from plaudit.rollout.settings import RolloutSettings
from plaudit.rollout.worker import RolloutWorker
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, Weights

from .engines import HERE, Echo

REQUESTS = [RolloutRequest(Prompt("p", (1, 2)))]
SAMPLING = Sampling(4, 1.0, (), 0)


def _weights(value: int) -> Weights:
    return (np.full(1, value, dtype=np.uint8),)


def _served(worker: RolloutWorker) -> tuple[int, float]:
    (((trajectory,), _),) = worker.generate(REQUESTS, SAMPLING, float("inf"))
    return trajectory.weight_version, float(trajectory.sampler_logprobs[0])


def _started(tmp_path, engine: str = "Echo") -> RolloutWorker:
    worker = RolloutWorker()
    worker.start(HERE + engine, PolicySettings(model=str(tmp_path)), RolloutSettings(), 3, _weights(30))
    return worker


def test_a_late_transfer_never_replaces_newer_weights(tmp_path):
    worker = _started(tmp_path)
    assert _served(worker) == (3, 30)
    assert worker.set_weights(5, _weights(50)) == 5
    assert worker.set_weights(4, _weights(40)) == 5
    assert _served(worker) == (5, 50)


class FailsToLoad(Echo):
    def load_weights(self, weights: Weights) -> None:
        if weights[0].sum() == 99:
            raise ValueError("broken transfer")
        super().load_weights(weights)


def test_weights_that_did_not_load_are_not_served(tmp_path):
    worker = RolloutWorker()
    kind = f"{__name__}:FailsToLoad"
    worker.start(kind, PolicySettings(model=str(tmp_path)), RolloutSettings(), 3, _weights(30))
    with pytest.raises(ValueError, match="broken"):
        worker.set_weights(4, _weights(99))
    assert _served(worker) == (3, 30)


def test_what_has_ended_is_reported_as_often_as_asked_for_and_all_of_it_once(tmp_path):
    requests = [RolloutRequest(Prompt(f"p{n}", (n,))) for n in range(8)]
    worker = _started(tmp_path, "Slow")  # a tenth of a second each
    for every, least, most in ((0.0, 8, 9), (0.25, 2, 4), (float("inf"), 1, 1)):
        reports = list(worker.generate(requests, SAMPLING, every))
        assert least <= len(reports) <= most
        assert [one.request for report in reports for one in report.trajectories] == requests
        assert {report.span for report in reports} == {None}, "nobody asked for traces"


def test_the_pool_module_needs_no_torch():
    code = "import sys, plaudit.rollout.worker; sys.exit(bool({'torch', 'transformers', 'ray'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
