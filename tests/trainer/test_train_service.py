"""A run as a service: watched, steered, told to end; and what is said when it cannot begin."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from plaudit.cli import main
from plaudit_client import ScoreItem
from plaudit_client.fake import FakeRewardServer

from .programs import control, finish, pool, settings_file, share_of_a, start, steer, wait_for


def test_a_run_is_watched_paused_and_stopped_from_the_command_line(tmp_path: Path, server: FakeRewardServer) -> None:
    path = settings_file(tmp_path, server.address, steps=1000, checkpoints={"every": 1000})
    folder = tmp_path / "run"
    process = start(path)
    wait_for(folder / "metrics.jsonl", process)
    watching = subprocess.Popen(control(folder, "watch"), stdout=subprocess.PIPE, text=True)
    assert "running" in steer(folder, "get")
    assert "paus" in steer(folder, "pause")
    assert "3 workers wanted" in pool(folder, "resize", "3")
    deadline = time.monotonic() + 120
    while "3 idle" not in (shown := pool(folder, "get")):
        assert time.monotonic() < deadline, shown
    saved = Path(steer(folder, "checkpoint").strip())
    assert (saved / "state.json").is_file()
    assert f"paused, step {int(saved.name.split('-')[1])} of 1000" in steer(folder, "get")
    check_top(folder)
    assert "running" in steer(folder, "resume")
    wait_for(folder / "samples/step-00004.jsonl", process)
    assert "stopping" in steer(folder, "stop")
    code, errors = finish(process)
    assert code == 0, errors
    shown, _ = watching.communicate(timeout=20)
    assert "stopped" in shown.splitlines()[-1]
    assert re.search(r"^step \d+  score [+-]0\.\d{3}  KL .*s$", shown, re.MULTILINE)
    assert len(list((folder / "checkpoints").iterdir())) == 2
    assert (folder / "report.html").is_file()
    done = subprocess.run(control(folder, "get"), capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert "has the run ended?" in done.stderr


def test_two_processes_never_train_in_one_folder(
    tmp_path: Path, server: FakeRewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings_file(tmp_path, server.address, steps=1000)
    first = start(path)
    wait_for(tmp_path / "run/config.yaml", first)
    assert main(["train", str(path)]) == 69
    assert "another process is at work in" in capsys.readouterr().err
    first.kill()
    first.communicate()


def test_sigterm_gives_up_the_step_under_way(tmp_path: Path) -> None:
    """Its rewards would take a minute: the checkpoint is of the step before."""
    asked, over = threading.Event(), threading.Event()

    def slow(item: ScoreItem) -> float:
        if item.item_id.split("/")[1] != "0":  # the second pass over the prompts
            asked.set()
            over.wait(60)
        return share_of_a(item)

    with FakeRewardServer(slow) as server:
        process = start(settings_file(tmp_path, server.address, steps=1000, checkpoints={"every": 1000}))
        assert asked.wait(120)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, errors = finish(process)
        took = time.monotonic() - began
        over.set()  # else the server's thread would hold up the end of all tests
    assert code == 143, errors
    assert took < 15
    assert "Traceback" not in errors
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00001"]


def test_sigterm_writes_a_checkpoint_and_exits_143(tmp_path: Path, server: FakeRewardServer) -> None:
    path = settings_file(tmp_path, server.address, steps=1000, checkpoints={"every": 1000})
    process = start(path)
    wait_for(tmp_path / "run/metrics.jsonl", process)
    check_metrics(json.loads((tmp_path / "run/run.json").read_text())["http_address"])
    process.send_signal(signal.SIGTERM)
    code, errors = finish(process)
    assert code == 143, errors
    assert len(list((tmp_path / "run/checkpoints").glob("step-*"))) == 1


def check_top(folder: Path) -> None:
    """The run is paused; its reward server has no metrics."""
    command = [sys.executable, "-m", "plaudit.cli", "top", str(folder), "--once", "--every=0.1"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r"^ state    paused", shown, re.MULTILINE), shown
    assert re.search(r"^ step     \d+ of 1,000  ━+  [\d,.]+ steps/h$", shown, re.MULTILINE), shown
    assert re.search(r"^ score    [+-]?\d", shown, re.MULTILINE), shown
    assert "name its server's http_address" in shown


def check_metrics(address: str) -> None:
    assert "of 1000" in httpx.get(f"http://{address}/health").json()["detail"]
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(httpx.get(f"http://{address}/metrics").text)
        for sample in family.samples
        if not sample.labels or sample.labels in ({"state": "starting"}, {"phase": "update", "le": "+Inf"})
    }
    steps = samples["plaudit_trainer_steps_total"]
    assert steps >= 1
    assert samples["plaudit_rollout_workers"] == 0, "none is starting any more"
    assert samples["plaudit_rollout_busy_seconds_total"] > 0
    behind = samples["plaudit_trainer_step"] - samples["plaudit_rollout_policy_version"]
    assert behind in (0, 1), "a worker that has not loaded the step's weights yet has those before"
    assert samples["plaudit_rollout_tokens_total"] == samples["plaudit_trainer_tokens_total"] > 0
    assert samples["plaudit_trainer_phase_duration_seconds_bucket"] >= 1
    assert samples["plaudit_ppo_kl_coef"] > 0


def test_ctrl_c_ends_everything_quickly(tmp_path: Path, server: FakeRewardServer) -> None:
    process = start(settings_file(tmp_path, server.address, steps=1000))
    wait_for(tmp_path / "run/metrics.jsonl", process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, errors = finish(process)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert time.monotonic() - began < 10
    assert "the same command" in errors


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("polcy.model=x", 2, "unknown key 'polcy'"),
        ("policy.model=./nowhere", 2, "no model folder './nowhere'"),
        ("prompts.data.source=nowhere.jsonl", 2, "nowhere.jsonl"),
        ("max_new_tokens=1000", 2, "context"),
        ("http_address=127.0.0.1:99999", 2, "host:port"),
        ("http_address=0.0.0.0:0", 2, "insecure_bind"),
        ("ppo.minibatches=9", 2, "batch_size 8"),
        ("trackers=[wandbb]", 2, "wandbb"),
        ("reward.address=127.0.0.1:1", 69, "127.0.0.1:1"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    server: FakeRewardServer,
    capsys: pytest.CaptureFixture[str],
    override: str,
    code: int,
    message: str,
) -> None:
    """And leaves nothing behind."""
    path = settings_file(tmp_path, server.address)
    capsys.readouterr()
    assert main(["train", str(path), override]) == code
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert message in error
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, server: FakeRewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings_file(tmp_path, server.address)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").touch()
    assert main(["train", str(path)]) == 2
    assert "holds something else than a run (thesis.txt)" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["thesis.txt"]
