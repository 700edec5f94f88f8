"""docs/feedback.md shows what `plaudit label` prints."""

import re
import shlex
from pathlib import Path

import pytest

from plaudit.cli import main

ROOT = Path(__file__).parents[2]


def test_the_report_that_is_explained_is_the_one_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    _, trusting = (ROOT / "docs" / "feedback.md").read_text().split("## Trusting")
    commands = re.findall(r"^plaudit (label .*)$", trusting, re.MULTILINE)
    for command in commands:
        assert main([*shlex.split(command, comments=True), f"database=sqlite:///{tmp_path}/judgements.db"]) == 0
    [shown] = re.findall(r"```text\n(.*?)```", trusting, re.DOTALL)
    printed = capsys.readouterr().out
    assert shown.strip() in printed
    assert "144 of them new" in printed
