"""`plaudit serve` as a user runs it: exit codes, one line, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from plaudit.cli import main
from plaudit.reward import classifier
from plaudit.reward.rendering import Rendering
from plaudit.reward.settings import ServerSettings
from plaudit.settings import load, parse
from plaudit_client import RewardClient, Score, ScoreItem, TextPair

from . import tiny_models
from .processes import process, write
from .serving import DIGITS

EXAMPLES = Path(__file__).parents[2] / "examples" / "serve"


def test_it_says_one_line_answers_and_ends_with_0_on_sigterm(tmp_path: Path):
    with process(tmp_path, models=[DIGITS]) as server:
        with RewardClient(server.address) as client:
            client.wait_until_ready(10)
            (result,) = client.score([ScoreItem(TextPair("How many?", "2 or 3"))])
            assert isinstance(result, Score)
            assert result.value == 0.4
        server.process.send_signal(signal.SIGTERM)
        out, _ = server.process.communicate(timeout=10)
    assert (server.process.returncode, (tmp_path / "stderr.txt").read_text()) == (0, "")
    assert out.count("\n") == 1
    assert server.address in out


def test_sigterm_finishes_what_is_in_flight_and_a_second_signal_does_not_wait(tmp_path: Path):
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "def score(prompt, response):\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'began').touch()\n"
        "    time.sleep(float(response))\n"
        "    return 1.0\n"
    )
    slow = {"name": "slow", "callable": {"function": f"{tmp_path}/slow.py:score"}}
    with process(tmp_path, models=[slow]) as server:
        answer = ask(server.address, "1.0")
        wait_for(tmp_path / "began")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=10) == 0
        assert "1.0" in answer.communicate(timeout=10)[0]
    (tmp_path / "began").unlink()
    with process(tmp_path, models=[slow]) as server:
        answer = ask(server.address, "60")
        wait_for(tmp_path / "began")
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=5) == 130
        answer.kill()
        answer.wait()


def ask(address: str, response: str) -> subprocess.Popen[str]:
    """A caller in a process of its own; prints the score."""
    code = (
        "from plaudit_client import *\n"
        f"c = RewardClient({address!r}); c.wait_until_ready(20)\n"
        f"print(c.score([ScoreItem(TextPair('', {response!r}))])[0].value)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_port_in_use_ends_with_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with process(tmp_path, models=[DIGITS]) as server:
        assert main(["serve", str(write(tmp_path, models=[DIGITS], address=server.address))]) == 2
    assert_one_line(capsys, server.address)


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"models": [{"name": "m", "model": "/no/such/folder"}]}, "/no/such/folder"),
        ({"models": []}, "models"),
        ({"models": [{"name": "m"}]}, "exactly one of model, rule, callable"),
        ({"models": [DIGITS, DIGITS]}, "two models are named 'digits'"),
        ({"models": [{"name": "d", "rule": {"kind": "digit"}}]}, "digit"),
        ({"models": [{**DIGITS, "rendering": {"kind": "plain"}}]}, "rendering is for a model"),
        ({"models": [DIGITS], "address": "0.0.0.0:0"}, "insecure_bind"),
        ({"models": [DIGITS], "address": "localhost"}, "host:port"),
        ({"models": [DIGITS], "adress": "x"}, "did you mean 'address'"),
        ({"models": [{"name": "m", "callable": {"function": "no/file.py:score"}}]}, "no/file.py"),
    ],
)
def test_wrong_settings_end_with_2_and_one_line(tmp_path: Path, capsys, monkeypatch, tree, named: str):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["serve", str(write(tmp_path, **tree))]) == 2
    assert_one_line(capsys, named)


def test_models_that_cannot_be_trusted_are_refused(tmp_path: Path, capsys):
    rendering = {"kind": "plain", "max_tokens": 64}
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    untrained = tmp_path / "untrained"
    LlamaForCausalLM(LlamaConfig(vocab_size=400, pad_token_id=0, num_labels=1, **shape)).save_pretrained(untrained)
    tiny_models.decoder_tokenizer().save_pretrained(untrained)
    changed = tiny_models.decoder(tmp_path / "changed", Rendering(max_tokens=64))
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    unknown = tiny_models.decoder(tmp_path / "unknown")
    cut = tiny_models.decoder(tmp_path / "cut", Rendering(max_tokens=64))
    os.truncate(cut / "model.safetensors", 2000)
    broken = tiny_models.decoder(tmp_path / "broken", Rendering(max_tokens=64))
    (broken / "config.json").write_text('{"model_type": ')
    cases = [
        ({"model": str(cut)}, "copy it again"),
        ({"model": str(broken)}, "config.json"),
        ({"model": str(untrained), "rendering": rendering}, "score.weight"),
        ({"model": str(changed)}, "self-test"),
        ({"model": str(unknown)}, "rendering"),
        ({"model": str(changed), "rendering": rendering}, "its own rendering"),
        ({"model": str(unknown), "rendering": {"kind": "plain", "max_tokens": 9999}}, "max_tokens"),
        ({"model": str(unknown), "rendering": rendering, "device": "abacus"}, "abacus"),
    ]
    capsys.readouterr()
    for model, named in cases:
        assert main(["serve", str(write(tmp_path, models=[{"name": "m", **model}]))]) == 2
        assert_one_line(capsys, named)


@pytest.mark.parametrize("name", ["model", "digits", "keyword", "callable"])
def test_the_examples_are_valid(name: str):
    assert load(ServerSettings, EXAMPLES / f"{name}.yaml").models


def test_where_the_system_tells_no_affinity_the_machine_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # macOS has none
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    model = {"name": "m", "model": "somewhere"}
    assert classifier._threads(parse(ServerSettings, {"models": [model, {**model, "name": "n"}]}, "here")) == 2


def test_a_rule_imports_neither_torch_nor_transformers(tmp_path: Path):
    code = (
        "import asyncio, sys\n"
        "from plaudit.reward import serve, server\n"
        "from plaudit.settings import load\n"
        "async def go(settings):\n"
        "    async with server.RewardServer(settings) as one:\n"
        "        await one.load()\n"
        f"asyncio.run(go(load(serve.ServerSettings, {str(write(tmp_path, models=[DIGITS]))!r})))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'heavy'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def assert_one_line(capsys: pytest.CaptureFixture[str], named: str) -> None:
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("plaudit serve: ")
    assert shown.err.count("\n") == 1, shown.err
    assert named in shown.err
