"""kill -9 of random rollout workers, every few seconds through the demo's whole PPO run: nobody could tell."""

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.trainer.programs import metrics_of

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "examples/demo/settings"
KILL_EVERY_S = 5.0


class Killer(threading.Thread):
    """Ends a worker of a process, again and again, until told to stop."""

    def __init__(self, driver: int) -> None:
        super().__init__(daemon=True)
        self.driver, self.killed, self.over = psutil.Process(driver), 0, threading.Event()
        self._random = random.Random(0)

    def run(self) -> None:
        while not self.over.wait(KILL_EVERY_S):
            try:
                workers = [one for one in self.driver.children(recursive=True) if _is_worker(one)]
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                return
            if workers:
                self._random.choice(workers).kill()
                self.killed += 1


def _is_worker(process: psutil.Process) -> bool:
    """One that is up: Ray names a process after its actor and what it is at, ray::RolloutWorker.generate."""
    title = " ".join(process.cmdline())
    return "RolloutWorker" in title and ".start" not in title and "__init__" not in title


@pytest.mark.long
def test_workers_killed_through_the_whole_demo_change_nothing(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    subprocess.run([sys.executable, ROOT / "examples/demo/run.py", "--folder", demo], check=True)
    serve = [sys.executable, "-m", "plaudit.cli", "serve", SETTINGS / "serve.yaml", f"ready_file={demo}/again.json"]
    model = json.dumps([{"name": "demo", "model": str(demo / "reward_model")}])
    own = ["address=127.0.0.1:0", "http_address=127.0.0.1:0", "deterministic=true", f"models={model}"]
    served = subprocess.Popen([*serve, *own])
    try:
        while not (demo / "again.json").exists():
            assert served.poll() is None
            threading.Event().wait(0.2)
        address = json.loads((demo / "again.json").read_text())["address"]
        assert _train(demo, "whole", address).wait(3600) == 0
        process = _train(demo, "killed", address)
        killer = Killer(process.pid)
        killer.start()
        assert process.wait(3600) == 0
        killer.over.set()
    finally:
        served.terminate()
        served.wait()
    print(f"{killer.killed} workers killed")
    assert killer.killed >= 10
    whole, killed = metrics_of(demo / "whole"), metrics_of(demo / "killed")
    assert len(killed) == len(whole) == 30
    assert sum(row["episodes"] for row in killed) == 30 * 64, "every prompt gave one trajectory"
    assert killed == whole
    for samples in sorted((demo / "killed/samples").glob("*.jsonl")):
        assert _answers(samples) == _answers(demo / "whole/samples" / samples.name)


def _train(demo: Path, name: str, address: str) -> "subprocess.Popen[bytes]":
    own = {
        "folder": demo / name,
        "policy.model": demo / "sft",
        "prompts.data.source": demo / "data/practice.jsonl",
        "prompts.held_out.source": demo / "data/held_out.jsonl",
        "reward.address": address,
    }
    train = [sys.executable, "-m", "plaudit.cli", "train", SETTINGS / "train.yaml"]
    return subprocess.Popen([*train, *(f"{key}={value}" for key, value in own.items())])


def _answers(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["prompt_id"], row["response"]) for row in rows]
