"""A cluster loses a node, is cut in two, loses its head: prompts in equal trajectories out, each exactly once."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machines import Machine, Network
from .ray_nodes import QUICK, ROOT, join, lead

pytestmark = [pytest.mark.system, pytest.mark.timeout(280)]


class Driver:
    """`cluster_driver.py` on one machine."""

    def __init__(self, machine: Machine, head: Machine, workers: int, prompts: int, folder: Path) -> None:
        program = [sys.executable, str(ROOT / "tests/system/cluster_driver.py"), f"{head.address}:6379"]
        command = [*program, str(workers), str(prompts), str(folder)]
        self.process = machine.start(command, env={**QUICK, "PYTHONPATH": str(ROOT)})

    def facts(self) -> Iterator[dict]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                yield json.loads(line)

    def until(self, key: str, least: int = 0) -> dict:
        for fact in self.facts():
            if key in fact and (not least or fact[key] >= least):
                return fact
        raise AssertionError(f"the driver ended ({self.process.wait()}) before it said '{key}'")


def check(result: dict, prompts: int) -> None:
    assert sorted(result["ids"]) == sorted(f"p{n}/0/0" for n in range(prompts)), "exactly once"


def test_a_partition_loses_no_prompt_and_brings_none_twice(net: Network, tmp_path: Path) -> None:
    head, one, two = (net.machine(name, number) for name, number in (("head", 10), ("one", 11), ("two", 12)))
    lead(head, tmp_path / "head.log")
    time.sleep(2)
    for machine in (one, two):
        join(machine, head, 2, tmp_path / f"{machine.name}.log")
    driver = Driver(head, head, workers=4, prompts=800, folder=tmp_path)
    driver.until("ready")
    driver.until("there", 100)
    net.cut(one)
    time.sleep(12)
    net.mend(one)
    result = driver.until("ids")
    check(result, 800)
    assert result["redispatched"] >= 1, "the partition came too late"


def test_the_heads_loss_is_survived(net: Network, tmp_path: Path) -> None:
    """Its state is in Redis. Driver and workers go on meanwhile; when it is back, a dead worker is replaced."""
    redis = shutil.which("redis-server")
    if redis is None:
        pytest.skip("needs redis-server (Debian package redis-server)")
    names = (("redis", 9), ("head", 10), ("one", 11), ("driver", 12))
    store, head, one, trainer = (net.machine(name, number) for name, number in names)
    store.start([redis, "--bind", store.address, "--protected-mode", "no", "--save", ""], tmp_path / "redis.log")
    kept = {"RAY_REDIS_ADDRESS": f"{store.address}:6379", "RAY_external_storage_namespace": "plaudit"}
    lead(head, tmp_path / "head.log", **kept)
    time.sleep(3)
    join(one, head, 2, tmp_path / "one.log")
    join(trainer, head, 0, tmp_path / "trainer.log")
    time.sleep(3)
    driver = Driver(trainer, head, workers=2, prompts=900, folder=tmp_path)
    pids = driver.until("ready")["ready"]
    driver.until("there", 40)
    head.die()
    driver.until("there", 120)
    head.boot()
    lead(head, tmp_path / "head2.log", **kept)
    time.sleep(8)
    subprocess.run(["kill", "-9", str(pids[0])], check=True)
    result = driver.until("ids")
    check(result, 900)
    assert (result["restarts"], result["alive"]) == (1, 2)
