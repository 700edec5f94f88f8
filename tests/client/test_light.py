"""The client alone: what it pulls in, and that it installs without the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "numpy", "transformers", "pydantic", "yaml", "rich", "plaudit", "trl", "verl")
MODULES = "plaudit_client.fake, plaudit_client.trl, plaudit_client.verl"
LIST_HEAVY = f"import sys, {MODULES}; print([name for name in {HEAVY} if name in sys.modules])"
TYPED = """
import importlib.resources as resources
print([(resources.files(name) / "py.typed").is_file() for name in ("plaudit", "plaudit_client", "plaudit_protos")])
"""
SCORES = """
from plaudit_client import RewardClient, ScoreItem, TextPair
from plaudit_client.fake import FakeRewardServer
with FakeRewardServer(lambda item: 1.5) as server, RewardClient(server.address) as client:
    print(client.score([ScoreItem(TextPair("p", "r"))])[0].value)
"""


def printed(executable: str | Path, code: str) -> str:
    return subprocess.run([executable, "-c", code], check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def test_the_client_imports_nothing_heavy():
    assert printed(sys.executable, LIST_HEAVY) == "[]"


@pytest.mark.long
def test_it_installs_without_extras(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    fresh = tmp_path / "venv" / "bin" / "python"
    subprocess.run([fresh, "-m", "pip", "install", "--quiet", ROOT], check=True, env=environment)
    assert printed(fresh, SCORES) == "1.5"
    assert printed(fresh, LIST_HEAVY) == "[]"
    assert printed(fresh, TYPED) == "[True, True, True]"
