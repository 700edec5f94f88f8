"""`plaudit train` as a user runs it: a process of its own, a reward server beside it, Ray, a run folder."""

import json
import subprocess
import sys
import time
from pathlib import Path

import yaml

from plaudit_client import ScoreItem, TextPair
from tests.policy.tiny import tiny_llama

TIMINGS = ("time", "seconds_", "peak_memory_bytes")


def share_of_a(item: ScoreItem) -> float:
    """A reward that the tiny policy can raise: how much of the response is the letter a."""
    assert isinstance(item.input, TextPair)
    response = item.input.response
    return response.count("a") / max(len(response), 1)


def settings_file(tmp_path: Path, address: str, **changes: object) -> Path:
    prompts = "".join(json.dumps({"prompt": f"the cat {i} of"}) + "\n" for i in range(8))
    (tmp_path / "prompts.jsonl").write_text(prompts)
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"text": f"{i} birds in a tree"}) + "\n" for i in range(5))
    )
    if not (tmp_path / "policy").exists():
        tiny_llama(tmp_path / "policy")
    tree = {
        "folder": str(tmp_path / "run"),
        "steps": 4,
        "batch_size": 8,
        "max_new_tokens": 6,
        "policy": {"model": str(tmp_path / "policy")},
        "prompts": {
            "data": {"source": str(tmp_path / "prompts.jsonl")},
            "held_out": {"source": str(tmp_path / "prompts.jsonl"), "limit": 3},
        },
        "reward": {"address": address, "startup_timeout_s": 2},
        "rollout": {"workers": 1, "group_size": 4},
        "ppo": {
            "learning_rate": 1e-3,
            "epochs": 2,
            "kl": {"coef": 0.05, "controller": "adaptive"},
            "scores": {"normalisation": "standardise"},  # its moments are part of what resumes
        },
        "pretraining": {"data": {"source": str(tmp_path / "texts.jsonl")}, "coef": 0.1, "texts_per_step": 3},
        "samples": {"every": 2},
        "checkpoints": {"every": 1, "keep": 2},
        **changes,
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def start(path: Path, *overrides: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "plaudit.cli", "train", str(path), *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, errors = process.communicate(timeout=180)
    return process.returncode, errors


def metrics_of(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith(TIMINGS)} for row in rows]


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def control(folder: Path, action: str) -> list[str]:
    return [sys.executable, "-m", "plaudit.cli", "control", str(folder), action]


def steer(folder: Path, action: str) -> str:
    return subprocess.run(control(folder, action), capture_output=True, text=True, check=True, timeout=60).stdout


def pool(folder: Path, action: str, *values: str) -> str:
    command = [sys.executable, "-m", "plaudit.cli", "pool", action, str(folder), *values]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
