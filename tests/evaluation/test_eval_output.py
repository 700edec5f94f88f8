"""What `plaudit eval` prints and writes: for pipes, on narrow terminals, and when it does not come to its end."""

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO

import pytest
from rich.console import Console

from plaudit.cli import main
from plaudit.evaluation.accuracy_report import as_table
from plaudit_client.fake import FakeRewardServer
from tests.evaluation.eval_helpers import evaluate_rows, told, write_rows
from tests.evaluation.test_rewardbench import every


def settings_file(folder, rows, address, **tree):
    path = folder / "eval.yaml"
    reward = {"address": address, "timeout_s": 1.0}
    path.write_text(json.dumps({"data": {"source": write_rows(folder, rows)}, "reward": reward, **tree}))
    return str(path)


@pytest.mark.parametrize("how", ["json", "markdown"])
def test_a_pipe_gets_what_the_file_holds_and_nothing_else(tmp_path, capsys, how):
    with FakeRewardServer(told) as server:
        path = settings_file(tmp_path, every(), server.address, benchmark="rewardbench", output=str(tmp_path / "out"))
        assert main(["eval", path, f"format={how}"]) == 0
    printed = capsys.readouterr()
    file = tmp_path / "out" / ("accuracy.json" if how == "json" else "accuracy.md")
    assert printed.out == file.read_text()
    assert "wrote" in printed.err
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["accuracy.json", "accuracy.md"]
    if how == "json":
        assert json.loads(printed.out)["benchmark"]["score"]["value"] == 0.5


def test_an_old_result_stays_whole_when_the_new_one_cannot_be_written(tmp_path, capsys, monkeypatch):
    with FakeRewardServer(told) as server:
        path = settings_file(tmp_path, every(), server.address, output=str(tmp_path / "out"))
        assert main(["eval", path]) == 0
        before = (tmp_path / "out" / "accuracy.json").read_bytes()
        monkeypatch.setattr(os, "fsync", full_disk)
        assert main(["eval", path, "data.limit=3"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (tmp_path / "out" / "accuracy.json").read_bytes() == before
    assert len(list((tmp_path / "out").iterdir())) == 2


def full_disk(descriptor):
    raise OSError(28, os.strerror(28))


@pytest.mark.parametrize(("width", "left_out"), [(40, 3), (60, 3), (80, 3), (90, 1), (100, 0)])
def test_on_a_narrow_terminal_columns_are_left_out_and_nothing_is_cut(tmp_path, width, left_out):
    found = evaluate_rows(tmp_path, every("+-=+"), benchmark="rewardbench")
    console = Console(file=StringIO(), width=width)
    console.print(as_table(found, width))
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    said = " ".join(text.split()).partition("A wider terminal shows: ")[2]
    assert len(said.split(",")) == left_out if left_out else said == ""
    if width >= 60:
        assert "\n· llmbar-adver-neighbor" in text
        assert text.count("62.5 ± 4.3") == 1


def test_a_server_that_ends_in_the_middle(tmp_path, capsys):
    rows = [{"prompt": f"{at}", "chosen": "1", "rejected": "0"} for at in range(600)]
    server = FakeRewardServer(lambda item: (server.close_soon() if item.input.prompt == "400" else None) or told(item))
    server.close_soon = lambda: server._server.stop(grace=None) and None
    path = settings_file(tmp_path, rows, server.address, output=str(tmp_path / "out"))
    began = time.monotonic()
    assert main(["eval", path]) == 69
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "768 of 1200 answers had been scored, and none is kept: begin again" in error
    assert "start it with `plaudit serve`" in error
    assert not (tmp_path / "out").exists()
    assert time.monotonic() - began < 10


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(tmp_path):
    rows = [{"prompt": f"{at}", "chosen": "1", "rejected": "0"} for at in range(3000)]
    with FakeRewardServer(lambda item: time.sleep(0.01) or told(item)) as server:
        path = settings_file(tmp_path, rows, server.address, output=str(tmp_path / "out"))
        command = [sys.executable, "-m", "plaudit.cli", "eval", path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not server.requests:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert error == "plaudit eval: interrupted\n"
    assert not (tmp_path / "out").exists()
