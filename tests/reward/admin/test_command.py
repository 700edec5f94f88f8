"""`plaudit models`, against a server in a process of its own."""

import re
from pathlib import Path

import pytest

from plaudit.cli import main
from plaudit.reward.rendering import Rendering
from plaudit_client import InvalidRequest, RewardClient, ScoreItem, TextPair
from plaudit_client.admin import ModelAdmin

from ..processes import process
from ..serving import DIGITS
from ..tiny_models import decoder


@pytest.fixture
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["keys", str(tmp_path / "keys.yaml"), "add", "name=ops", "scopes=[score,admin]"]) == 0
    (tmp_path / "ops.key").write_text(capsys.readouterr().out)
    return tmp_path / "ops.key"


def test_an_operator_loads_names_and_unloads_models_from_the_command_line(tmp_path, key, capsys):
    for seed, name in enumerate(("one", "two")):
        decoder(tmp_path / "models" / name, Rendering(max_tokens=64), seed=seed)
    models = [{"name": "helpful", "model": str(tmp_path / "models/one")}, DIGITS]
    own = {"keys": str(tmp_path / "keys.yaml"), "model_roots": [str(tmp_path / "models")]}

    def told(*arguments: str, code: int = 0) -> str:
        assert main(["models", server.address, *arguments, f"api_key_file={key}"]) == code
        return "".join(capsys.readouterr())

    with process(tmp_path / "server", models=models, **own) as server:
        assert told("list").count("  aliased  ") == 2
        new = re.search(r"(models/helpful/versions/\w+) is served", told("load", "name=helpful", "folder=two"))[1]
        assert told("list").count("  aliased  ") == 2
        assert f"models/helpful stands for {new}" in told("alias", f"name={new}")
        assert "update that alias first" in told("unload", f"name={new}", code=2)
        with RewardClient(server.address, model="models/helpful", api_key=key.read_text().strip()) as client:
            (score,) = client.score([ScoreItem(TextPair("When do you open?", " At 9."))])
        assert score.model.name == new
        assert "no folder" in told("load", "name=helpful", "folder=three", code=2)
        assert "is unloaded" in told("unload", "name=digits")
        with ModelAdmin(server.address, api_key=key.read_text().strip()) as admin:
            assert {model.name: model.aliased for model in admin.models()}[new]
            with pytest.raises(InvalidRequest, match="update that alias first") as error:
                admin.unload(new)
            assert error.value.reason == "MODEL_IN_USE"
        server.end()


def test_a_server_without_roots_says_so(tmp_path, key, capsys):
    with process(tmp_path / "server", models=[DIGITS], keys=str(tmp_path / "keys.yaml")) as server:
        load = ["load", "name=m", "folder=m", f"api_key_file={key}"]
        assert main(["models", server.address, *load]) == 2
        assert "has no model_roots" in capsys.readouterr().err
        server.end()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere", "list"], "is not host:port"),
        (["127.0.0.1:1", "sell"], "no action 'sell': list, load, alias, unload"),
        (["127.0.0.1:1", "load", "name=m"], "key 'folder' is missing"),
        (["127.0.0.1:1", "list", "api_key_file=/nowhere"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, told, capsys):
    assert main(["models", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
