"""What docs/adapters.md shows runs as it stands, as far as it is ours."""

import dataclasses
import importlib
import math
import re
import subprocess
import sys
from pathlib import Path

from plaudit_client.environment import PREFIX, Server
from tests.reward.processes import Served

TEXT = (Path(__file__).parents[3] / "docs/adapters.md").read_text()
(PROGRAM,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
FIELDS = {field.name for field in dataclasses.fields(Server)}


def test_the_program_trains(server: Served, policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = PROGRAM.replace("127.0.0.1:50051", server.address).replace('"policy"', f'"{policy}"')
    program = program.replace("max_steps=2", 'max_steps=2, use_cpu=True, report_to=[], save_strategy="no"')
    found: dict = {}
    exec(program, found)
    training = found["training"]
    assert training.state.global_step == 2
    rewards = training._logs["rewards"]["plaudit"]
    assert rewards
    assert all(map(math.isfinite, rewards))


def test_what_verl_is_told_is_there():
    (path,) = re.findall(r"path=pkg://(\S+)", TEXT)
    module = importlib.import_module(path)
    names = ["compute_score", *re.findall(r"custom_reward_function\.name=(\w+)", TEXT)]
    assert len(names) == 2
    assert all(callable(getattr(module, name)) for name in names)
    assert set(re.findall(r"reward_kwargs\.(\w+)", TEXT)) <= FIELDS | {"prompt_key"}


def test_the_command_for_openrlhf_prints_a_file():
    (command,) = re.findall(r"--reward\.remote_url \$\(python (-m \S+)\)", TEXT)
    printed = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True, timeout=60, check=True)
    assert Path(printed.stdout.strip()).is_file()


def test_every_variable_is_told():
    assert {PREFIX + name.upper() for name in FIELDS} == set(re.findall(rf"`({PREFIX}\w+)`", TEXT))
