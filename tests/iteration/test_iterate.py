"""The whole run, as a user has it: a process of its own that is killed, and goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from transformers import AutoModelForCausalLM

from plaudit.cli import main
from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit_client import ScoreItem, TextPair
from plaudit_client.fake import FakeRewardServer

from .runs import rows, settings_file

TASKS = [f"run/round-1/{i}" for i in range(5)]


class Labeller:
    """Likes the letter a; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, item: ScoreItem) -> float:
        assert isinstance(item.input, TextPair)
        self.asked.append(item.input.prompt)
        return item.input.response.count("a") / max(1, len(item.input.response))


@pytest.fixture
def labeller() -> Iterator[tuple[Labeller, str]]:
    judge = Labeller()
    with FakeRewardServer(judge) as server:
        yield judge, server.address


def start(path: Path, *overrides: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "plaudit.cli", "iterate", str(path), *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    out, errors = process.communicate(timeout=500)
    return process.returncode, out + errors


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 500
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


def left_behind(tmp_path: Path) -> list[str]:
    """Programs of the run that are there 15 seconds after it was killed."""
    until = time.monotonic() + 15
    while found := [line for line in _command_lines() if str(tmp_path) in line and "plaudit" in line]:
        if time.monotonic() > until:
            return found
        time.sleep(0.1)
    return []


def _command_lines() -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            yield " ".join(process.cmdline()) if process.pid != os.getpid() else ""
        except psutil.Error:
            continue


@pytest.mark.long  # about a minute where nobody else is at work
def test_a_run_is_killed_without_a_warning_and_goes_on_to_its_end(
    tmp_path: Path, labeller: tuple[Labeller, str]
) -> None:
    judge, address = labeller
    path, folder = settings_file(tmp_path, address), tmp_path / "run"
    process = start(path)
    wait_for(folder / "round-1/ppo/checkpoints/step-00001", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left_behind(tmp_path) == []
    done = {file: file.read_text() for file in folder.rglob("*.done")}
    assert {file.stem for file in done} == {"respond", "evaluate", "generate", "judge", "reward_model"}
    judged = [prompt for prompt in judge.asked if prompt.startswith("the cat")]
    assert 12 <= len(judged) <= 24

    code, said = finish(start(path))
    assert code == 0, said
    assert {file: file.read_text() for file in done} == done  # nothing was done twice
    assert [prompt for prompt in judge.asked if prompt.startswith("the cat")] == judged
    assert "round-1/ppo" in said
    assert "round-1/generate" not in said
    check_end(folder)
    check_tree(folder)

    code, said = finish(start(path))
    assert (code, "round-1" in said.replace(str(folder), "")) == (0, False)  # nothing was left to do
    code, said = finish(start(path, "train.steps=9"))
    assert code == 2
    assert "another 'train.steps' (2, now 9)" in said


def check_end(folder: Path) -> None:
    figures = json.loads((folder / "round-1/evaluation.json").read_text())
    assert figures["prompts"] == 4
    for name in ("kl", "score", "gold"):
        assert figures[name]["n"] == 4
        assert figures[name]["standard_error"] is not None
    assert abs(json.loads((folder / "round-0/evaluation.json").read_text())["kl"]["value"]) < 1e-4
    assert figures["wins"]["first"]["n"] == 4
    assert "<bdi>1 round</bdi>" in (folder / "report.html").read_text()
    card = (folder / "policy/README.md").read_text()
    assert "models/fake/versions/1" in card
    AutoModelForCausalLM.from_pretrained(folder / "policy")


def check_tree(folder: Path) -> None:
    """All that a run leaves is in the tree that the documentation shows."""
    page = (Path(__file__).parents[2] / "docs/iterate.md").read_text()
    told = set(re.findall(r"[\w.-]+", page.partition("## One folder")[2].partition("## Who judges")[0]))
    left = {file for at in (folder, folder / "round-0", folder / "round-1") for file in at.iterdir()}
    names = {file.name for file in left if not file.name.startswith(".") and file.suffix != ".done"}
    assert names <= told | {"ppo"}, names - told


def waiting_for_people(tmp_path: Path) -> Path:
    """A run whose first policy has answered, and whose tasks are drawn."""
    path = settings_file(tmp_path, "127.0.0.1:1", label={"wanted": 2})
    folder = tmp_path / "run"
    rows(folder / "round-1/tasks.jsonl", *({"id": str(i), "prompt": f"{i}", "responses": ["a", "b"]} for i in range(5)))
    (folder / "round-0").mkdir()
    for stage in ("round-0/respond", "round-0/evaluate", "round-1/generate"):
        (folder / f"{stage}.done").write_text('{"seconds": 1.0}')
    (folder / "config.yaml").write_text(path.read_text())
    return path


def test_who_waits_for_people_lets_nobody_else_into_its_folder_and_may_leave(tmp_path: Path) -> None:
    path = waiting_for_people(tmp_path)
    process = start(path)
    assert process.stderr is not None
    assert any("round-1/judge" in line for line in process.stderr), "it has begun, and not its imports alone"
    wait_for(tmp_path / "run/judgements.db", process)
    wait_for_tasks(tmp_path)
    code, said = finish(start(path))
    assert code == 69
    assert "another process" in said
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    assert not (tmp_path / "run/round-1/judge.done").exists()


def wait_for_tasks(tmp_path: Path) -> None:
    """Their judgements are missing in the store."""
    until = time.monotonic() + 60
    database = open_database(f"sqlite:///{tmp_path}/run/judgements.db")
    while Store(database).missing(TASKS) < 10:
        assert time.monotonic() < until
        time.sleep(0.05)
    database.close()


def test_ctrl_c_ends_the_wait_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(store: Store, keys: list[str]) -> int:
        assert store.missing(keys) == 10, "it waits"
        signal.raise_signal(signal.SIGINT)
        return 0

    path = waiting_for_people(tmp_path)
    monkeypatch.setattr(Store, "nobody_left", looked)
    for _ in range(2):  # the second time the folder is free again
        assert main(["iterate", str(path)]) == 130
    assert not (tmp_path / "run/round-1/judge.done").exists()


@pytest.mark.long
def test_a_run_killed_at_every_stage_ends_as_one_never_killed(tmp_path: Path, labeller: tuple[Labeller, str]) -> None:
    _, address = labeller
    prompts = {"source": str(tmp_path / "prompts.jsonl")}
    draw = {"prompts": prompts, "count": 12, "workers": 1, "uncertain_first": True}
    several = {
        "training": {"max_steps": 1, "batch_size": 4},
        "rendering": {"max_tokens": 64},
        "ensemble": {"members": 2},
    }
    path = settings_file(tmp_path, address, generate=draw, rounds=2, reward_model=several, seed=3)
    whole, killed = tmp_path / "whole/run", tmp_path / "killed/run"  # keys of tasks name the run
    assert finish(start(path, f"folder={whole}"))[0] == 0
    stages = [file.relative_to(whole) for file in sorted(whole.rglob("*.done"), key=lambda file: file.stat().st_mtime)]
    for stage in stages:
        process = start(path, f"folder={killed}")
        wait_for(killed / stage, process)
        process.kill()
        process.communicate()
        assert left_behind(killed) == []
    code, said = finish(start(path, f"folder={killed}"))
    assert code == 0, said
    for file in ("round-2/judged.jsonl", "round-2/evaluation.json", "policy/model.safetensors"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file
