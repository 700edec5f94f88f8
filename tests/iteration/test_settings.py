"""What is wrong with the settings of a run is said before anything begins, by the key that is to be mended."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from plaudit.cli import main

from .runs import settings


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"round": 2}, "unknown key 'round' (did you mean 'rounds'?)"),
        ({"rounds": 0}, "'rounds' is 0"),
        ({"train": {"steps": 2, "prompt": {}}}, "unknown key 'prompt' (did you mean 'prompts'?)"),
        ({"train": {"steps": 2, "prompts": {"data": {"source": "x"}}, "folder": "x"}}, "'train.folder' is decided by"),
        ({"reward_model": {"data": {"source": "x"}}}, "'reward_model.data' is decided by the rounds: leave it out"),
        ({"reward_model": {"training": {"epoch": 1}}}, "reward_model: unknown key 'training.epoch'"),
        ({"sft": {"data": {"source": "x"}, "output": "y"}}, "'sft.output' is decided by the rounds"),
        ({"sft": {}}, "sft: key 'data' is missing"),
        ({"label": {"kind": "demonstration"}}, "'label.kind' is 'demonstration'"),
        ({"label": {"model": {"lowest": 1, "highest": 1}}}, "highest 1 is not above lowest 1"),
        ({"label": {"database": "judgements"}}, "database: no URL"),
        ({"generate": {"prompts": {"source": "x"}, "per_prompt": 1}}, "set generate.per_prompt to 2 or more"),
        ({"generate": {"prompts": {"source": "x"}, "uncertain_first": True}}, "set reward_model.ensemble"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "iterate.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path, **change)))
    assert main(["iterate", str(path)]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "iterate.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    assert main(["iterate", str(path)]) == 2
    assert "holds something else than a run of `plaudit iterate` (thesis.tex)" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["thesis.tex"]
