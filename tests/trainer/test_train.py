"""What a run leaves behind, and that it goes on from it as if nothing had happened."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from plaudit.cli import main
from plaudit_client.fake import FakeRewardServer

from .programs import finish, metrics_of, settings_file, start, steer, wait_for


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
    moved = zip(trained.parameters(), start.parameters(), strict=True)
    assert any(not torch.equal(*pair) for pair in moved)


def test_a_damaged_checkpoint_is_set_aside_and_the_run_ends_the_same(tmp_path: Path, server: FakeRewardServer) -> None:
    """Of whatever can be in one: adapters, a critic of its own, a learning rate under way to 0."""
    whole = tmp_path / "whole"
    policy = {"model": str(tmp_path / "policy"), "lora": {"rank": 4, "alpha": 8}}
    ppo = {"learning_rate": 1e-2, "learning_rate_schedule": "linear", "critic": "separate", "advantages": "gae"}
    path = settings_file(tmp_path, server.address, policy=policy, ppo=ppo)
    assert main(["train", str(path), f"folder={whole}"]) == 0
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


def test_another_run_and_other_data_are_refused_in_a_folder_that_holds_one(
    tmp_path: Path, server: FakeRewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings_file(tmp_path, server.address, steps=1)
    assert main(["train", str(path)]) == 0
    for override, told in (("seed=7", "'seed' (0, now 7)"), ("ppo.kl.coef=0.5", "'ppo.kl.coef' (0.05, now 0.5)")):
        assert main(["train", str(path), override]) == 2
        assert f"another {told}" in capsys.readouterr().err
    assert main(["train", str(path), "ppo.microbatch_tokens=64", "policy.gradient_checkpointing=true"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write('{"text": "a fox"}\n')
    assert main(["train", str(path), "steps=2"]) == 2
    assert "pretraining.data has changed since" in capsys.readouterr().err
