"""`plaudit train` as a user runs it: a process of its own, a reward server beside it, Ray, a run folder."""

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from transformers import AutoModelForCausalLM, AutoTokenizer

from plaudit.cli import main
from plaudit.policy.flat_weights import pack
from plaudit_client import ScoreItem, TextPair
from plaudit_client.fake import FakeRewardServer
from tests.policy.tiny import tiny_llama

TIMINGS = ("time", "seconds_", "peak_memory_bytes")


def share_of_a(item: ScoreItem) -> float:
    """A reward that the tiny policy can raise: how much of the response is the letter a."""
    assert isinstance(item.input, TextPair)
    response = item.input.response
    return response.count("a") / max(len(response), 1)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeRewardServer]:
    with FakeRewardServer(share_of_a) as server:
        yield server


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


def test_a_run_leaves_its_folder_behind_and_resumes_bit_for_bit(tmp_path: Path, server: FakeRewardServer) -> None:
    """A run that is killed without a warning goes on from its checkpoint, and nobody could tell from its metrics."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    path = settings_file(tmp_path, server.address, rollout={"workers": 2, "group_size": 4})

    code, errors = finish(start(path, f"folder={whole}"))
    assert code == 0, errors

    process = start(path, f"folder={killed}")
    wait_for(killed / "checkpoints" / "step-00002", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = metrics_of(killed)
    code, errors = finish(start(path, f"folder={killed}"))
    assert code == 0, errors
    assert len(before) < 4
    assert metrics_of(killed) == metrics_of(whole)
    for samples in ("step-00000", "step-00002", "step-00004"):
        assert (killed / f"samples/{samples}.jsonl").read_text() == (whole / f"samples/{samples}.jsonl").read_text()

    check_folder(whole)


def test_an_overlapped_run_is_killed_stopped_and_goes_on_and_keeps_its_bound(
    tmp_path: Path, server: FakeRewardServer
) -> None:
    rollout = {"workers": 2, "group_size": 2, "mode": "overlapped", "max_staleness": 1}
    path, folder = settings_file(tmp_path, server.address, steps=30, rollout=rollout), tmp_path / "run"
    process = start(path)
    wait_for(folder / "checkpoints" / "step-00004", process)
    process.kill()
    process.communicate()
    process = start(path)
    wait_for(folder / "checkpoints" / "step-00009", process)
    assert "stopping" in steer(folder, "stop")
    code, errors = finish(process)
    assert code == 0, errors
    rows = metrics_of(folder)
    assert 9 <= len(rows) < 30
    assert all(row["staleness_0"] + row["staleness_1"] == row["episodes"] == 8 for row in rows)
    assert sum(row["staleness_1"] for row in rows) > 0, "nothing was generated while the learner was at its step"
    state = json.loads((sorted((folder / "checkpoints").iterdir())[-1] / "state.json").read_text())
    dropped = sum(row["stale_dropped"] for row in rows)
    assert 0 <= state["drawn"] - len(rows) * 8 - len(state["in_flight"]) - dropped <= 8
    code, errors = finish(start(path, "rollout.mode=synchronous"))
    assert code == 2
    assert "another 'rollout.mode'" in errors


def check_folder(folder: Path) -> None:
    rows = metrics_of(folder)
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert all(row["episodes"] == 8 and row["missing_rewards"] == 0 for row in rows)
    assert abs(rows[0]["kl"]) < 1e-5  # the policy starts as its reference
    assert rows[-1]["kl"] > rows[0]["kl"]
    assert all(abs(row["sampler_kl"]) < 1e-3 for row in rows)  # workers sample with the learner's own weights
    assert yaml.safe_load((folder / "config.yaml").read_text())["ppo"]["gae_lambda"] == 0.95  # defaults filled in
    best = max(rows, key=lambda row: row["reward_mean"])["step"] + 1
    kept = sorted({f"step-{step:05d}" for step in (best, 3, 4)})
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())] == kept
    assert list((folder / "tensorboard").rglob("events.out.tfevents.*"))
    assert (folder / "report.html").stat().st_size > 1000
    policy = folder / "checkpoints/step-00004"
    AutoTokenizer.from_pretrained(policy)
    trained = AutoModelForCausalLM.from_pretrained(policy)
    start = AutoModelForCausalLM.from_pretrained(folder.parent / "policy")
    assert bytes(pack(dict(trained.named_parameters()))) != bytes(pack(dict(start.named_parameters())))


@pytest.mark.long
def test_a_run_killed_at_any_instants_ends_as_one_never_killed(tmp_path: Path, server: FakeRewardServer) -> None:
    """Also while it loads, writes a checkpoint, or cuts what it will write again."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    path = settings_file(tmp_path, server.address, steps=12, rollout={"workers": 2, "group_size": 4})
    began = time.monotonic()
    assert finish(start(path, f"folder={whole}"))[0] == 0
    seconds = time.monotonic() - began
    instants = random.Random(4)
    kills = 0
    while not (killed / "report.html").exists():
        process = start(path, f"folder={killed}")
        try:
            process.wait(instants.uniform(0.3, 1.0) * seconds if kills < 12 else 600)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
    assert kills >= 3
    assert metrics_of(killed) == metrics_of(whole)
    for file in ("checkpoints/step-00012/learner.safetensors", "samples/step-00012.jsonl"):
        assert (killed / file).read_bytes() == (whole / file).read_bytes()


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


def control(folder: Path, action: str) -> list[str]:
    return [sys.executable, "-m", "plaudit.cli", "control", str(folder), action]


def steer(folder: Path, action: str) -> str:
    return subprocess.run(control(folder, action), capture_output=True, text=True, check=True, timeout=60).stdout


def pool(folder: Path, action: str, *values: str) -> str:
    command = [sys.executable, "-m", "plaudit.cli", "pool", action, str(folder), *values]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_damaged_checkpoint_is_set_aside_and_the_run_ends_the_same(tmp_path: Path, server: FakeRewardServer) -> None:
    """Of whatever can be in one: adapters, a critic of its own, a learning rate under way to 0."""
    whole = tmp_path / "whole"
    policy = {"model": str(tmp_path / "policy"), "lora": {"rank": 4, "alpha": 8}}
    ppo = {"learning_rate": 1e-2, "learning_rate_schedule": "linear", "critic": "separate", "advantages": "gae"}
    path = settings_file(tmp_path, server.address, policy=policy, ppo=ppo)
    assert finish(start(path, f"folder={whole}"))[0] == 0
    before = metrics_of(whole)
    assert before[-1]["kl"] != before[0]["kl"] == 0
    newest = whole / "checkpoints/step-00004/learner.safetensors"
    content = newest.read_bytes()
    newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, errors = finish(start(path, f"folder={whole}"))
    assert code == 0, errors
    assert "set aside as" in errors
    assert (whole / "checkpoints/damaged-step-00004").is_dir()
    assert newest.read_bytes() == content
    assert metrics_of(whole) == before


def test_two_processes_never_train_in_one_folder(tmp_path: Path, server: FakeRewardServer) -> None:
    path = settings_file(tmp_path, server.address, steps=1000)
    first = start(path)
    wait_for(tmp_path / "run/metrics.jsonl", first)
    code, errors = finish(start(path))
    assert code == 69
    assert "another process trains in" in errors
    first.kill()
    first.communicate()


def test_data_that_changed_are_named(tmp_path: Path, server: FakeRewardServer) -> None:
    path = settings_file(tmp_path, server.address, steps=1)
    assert finish(start(path))[0] == 0
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write('{"text": "a fox"}\n')
    code, errors = finish(start(path, "steps=2"))
    assert code == 2
    assert "pretraining.data has changed since" in errors


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
    assert samples["plaudit_rollout_policy_version"] == samples["plaudit_trainer_step"]
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


def test_two_runs_never_mix_in_one_folder(
    tmp_path: Path, server: FakeRewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings_file(tmp_path, server.address, steps=1)
    assert finish(start(path))[0] == 0
    for override, told in (("seed=7", "'seed' (0, now 7)"), ("ppo.kl.coef=0.5", "'ppo.kl.coef' (0.05, now 0.5)")):
        assert main(["train", str(path), override]) == 2
        assert f"another {told}" in capsys.readouterr().err
    process = start(path)
    told, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    assert "nothing is left to do" in told
