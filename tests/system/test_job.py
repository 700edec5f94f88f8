"""The trainer's Job, as its manifest has it: joins the cluster, is told to go in the middle of a step, goes on."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from plaudit.errors import TERMINATED, ConfigurationError
from tests.trainer.programs import settings_file

from .machines import Machine, Network
from .pods import Pod
from .ray_nodes import join, lead

pytestmark = [pytest.mark.system, pytest.mark.timeout(280)]


def test_the_trainer_is_interrupted_in_a_step_and_the_same_job_goes_on(net: Network, tmp_path: Path) -> None:
    head, one, rewards, trainer = (net.machine(name, 10 + n) for n, name in enumerate(("head", "one", "rm", "job")))
    names = {"rollouts-head-svc": head, "reward-server": rewards}
    lead(head, tmp_path / "head.log")
    run = tmp_path / "run"
    settings_file(tmp_path, "replaced:1", steps=1000, folder=str(run), checkpoints={"every": 1000})
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump({"models": [{"name": "r", "rule": {"kind": "digits"}}]}))
    trainer.knows(names)
    Pod("Deployment", "reward-server", rewards, tmp_path).start(tmp_path / "serve.log")
    join(one, head, 2, tmp_path / "one.log")

    job, log = Pod("Job", "trainer", trainer, tmp_path), tmp_path / "job.log"
    process = job.start(log)
    done = _wait_for_steps(run, 3, process, log)
    time.sleep(0.3)  # in the middle of one
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(job.grace) == TERMINATED, log.read_text()
    print(f"SIGTERM to exit: {time.monotonic() - began:.1f} s of {job.grace} s")
    saved = max(int(path.name.partition("-")[2]) for path in (run / "checkpoints").iterdir())
    assert saved >= done

    _renew(trainer, names)
    process = job.start(log, f"steps={saved + 2}")
    assert process.wait(120) == 0, log.read_text()
    assert f"resuming {run} at step {saved}" in log.read_text()
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(saved + 2))

    _renew(trainer, names)
    assert job.start(log, "steps=none").wait(60) == ConfigurationError.exit_code


def test_a_job_that_waits_for_the_cluster_goes_at_once_when_it_is_told_to(net: Network, tmp_path: Path) -> None:
    """Nobody leads it: `ray start` tries for minutes."""
    trainer = net.machine("job", 10)
    trainer.knows({"rollouts-head-svc": net.machine("head", 11)})
    log = tmp_path / "job.log"
    process = Pod("Job", "trainer", trainer, tmp_path).start(log)
    time.sleep(5)
    assert process.poll() is None, log.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == TERMINATED, log.read_text()


def _renew(machine: Machine, names: dict[str, Machine]) -> None:
    """Another pod in its place."""
    machine.die()
    machine.boot()
    machine.knows(names)


def _wait_for_steps(run: Path, steps: int, process: "subprocess.Popen[str]", log: Path) -> int:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        rows = (run / "metrics.jsonl").read_text().count("\n") if (run / "metrics.jsonl").exists() else 0
        if rows >= steps:
            return rows
        time.sleep(0.1)
