"""`plaudit score` when it or its server is killed: the same command, run again, ends as if nothing had been."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plaudit.cli import main
from plaudit.reward.rendering import Rendering
from tests.reward import tiny_models
from tests.reward.processes import process

ROWS = 160


def callable_model(folder: Path) -> dict:
    (folder / "slow.py").write_text(
        "import time\ndef score(prompt, response):\n    time.sleep(0.004)\n    return hash(response) % 1000 / 7\n"
    )
    return {"name": "slow", "callable": {"function": f"{folder}/slow.py:score"}}


def torch_model(folder: Path) -> dict:
    return {"name": "m", "model": str(tiny_models.decoder(folder / "model", Rendering(max_tokens=512)))}


@pytest.mark.parametrize("make", [callable_model, pytest.param(torch_model, marks=pytest.mark.long)])
def test_killed_in_the_middle_twice_and_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, make):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    rows = [{"prompt": f"What is {number}? " * 8, "response": f" It is {number}."} for number in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tree = {"models": [make(tmp_path)], "deterministic": True, "threads": 1}
    output, undisturbed = tmp_path / "scores.jsonl", tmp_path / "undisturbed.jsonl"

    with process(tmp_path / "server", **tree) as server:
        settings = write_settings(tmp_path, server.address)
        assert main(["score", settings, f"output={undisturbed}"]) == 0
        scoring = start(settings, output, more=2)
        scoring.kill()
        scoring.wait()
        first = lines(output)
        scoring = start(settings, output, more=2)
        server.kill()
        assert scoring.wait(timeout=30) == 69
    second = lines(output)
    with process(tmp_path / "server", **tree, address=server.address):
        assert main(["score", settings, f"output={output}"]) == 0

    assert 0 < first < second < ROWS
    assert f"{ROWS} of {ROWS} rows scored" in capsys.readouterr().out
    assert output.read_bytes() == undisturbed.read_bytes()
    assert [json.loads(line)["row"] for line in output.read_text().splitlines()] == list(range(ROWS))


def write_settings(folder: Path, address: str) -> str:
    path = folder / "score.yaml"
    path.write_text(
        f"data: {{source: {folder}/rows.jsonl}}\noutput: {folder}/unused.jsonl\nbatch_size: 8\n"
        f"reward: {{address: '{address}', timeout_s: 0.5}}\n"
    )
    return str(path)


def start(settings: str, output: Path, more: int) -> "subprocess.Popen[bytes]":
    """In a process of its own, which has scored `more` further batches."""
    before = lines(output)
    command = [sys.executable, "-m", "plaudit.cli", "score", settings, f"output={output}"]
    scoring = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while lines(output) < before + more * 8:
        assert scoring.poll() is None
        time.sleep(0.002)
    return scoring


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
