"""Every settings file under examples/ is one that its program reads, and names data that are there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from plaudit.cli import COMMANDS, _parser
from plaudit.evaluation.accuracy import AccuracySettings
from plaudit.evaluation.score import ScoreSettings
from plaudit.feedback.label import ACTIONS
from plaudit.feedback.reading import read_tasks
from plaudit.feedback.settings import LabelSettings
from plaudit.feedback.tasks import Kind
from plaudit.finetune.demonstrations import read_demonstrations
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.sft_settings import SFTSettings
from plaudit.iteration.generate import GenerateSettings
from plaudit.iteration.settings import IterateSettings
from plaudit.preferences.reading import read_preferences
from plaudit.reward.settings import ServerSettings
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "examples").rglob("*.yaml"))
DOCUMENTS = [*ROOT.glob("*.md"), *(path for room in ("docs", "examples") for path in (ROOT / room).rglob("*.md"))]
COMMAND_LINES = [
    (document.relative_to(ROOT), line)
    for document in sorted(DOCUMENTS)
    for line in re.findall(r"^ *(plaudit +[a-z].*)$", document.read_text(), re.MULTILINE)
]
KINDS = {
    "sft": SFTSettings,
    "reward-model": RewardModelSettings,
    "serve": ServerSettings,
    "train": TrainSettings,
    "score": ScoreSettings,
    "eval": AccuracySettings,
    "label": LabelSettings,
    "generate": GenerateSettings,
    "iterate": IterateSettings,
}

READERS = {"sft": read_demonstrations, "reward-model": read_preferences, "eval": read_preferences}


def program_of(path: Path) -> str:
    """The `plaudit PROGRAM path` that the file's first comment shows."""
    shown = f"plaudit {{}} {path.relative_to(ROOT)}"
    (program,) = [name for name in KINDS if shown.format(name) in path.read_text()]
    return program


def test_there_are_examples() -> None:
    assert {program_of(path) for path in FILES} == set(KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_an_example_is_read_by_its_program(path: Path) -> None:
    load(KINDS[program_of(path)], path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_data_of_an_example_are_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = [value for value in strings(yaml.safe_load(path.read_text())) if value.startswith("examples/")]
    assert all((ROOT / value.split(":")[0]).exists() for value in named), named
    if named and (read := READERS.get(program_of(path))):
        monkeypatch.chdir(ROOT)
        assert len(read(load(KINDS[program_of(path)], path).data)) >= 8


def test_tasks_to_judge_are_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = load(LabelSettings, "examples/label/settings.yaml")
    assert {one.kind for one in settings.tasks} == set(Kind)
    tasks = [task for one in settings.tasks for task in read_tasks(one.data, one.kind)]
    assert sum(task.gold is not None for task in tasks) == 1


@pytest.mark.parametrize(("document", "line"), COMMAND_LINES, ids=lambda value: str(value))
def test_a_command_line_that_a_document_shows_is_read(document: Path, line: str) -> None:
    _, program, *words = shlex.split(line, comments=True)
    _parser().parse_args([program, *words])
    if program == "label" and len(words) > 1 and words[1] in ACTIONS:
        words = words[:1]  # its own keys are of the action
    if program in KINDS:
        path, *overrides = words
        load(KINDS[program], ROOT / path, overrides)


def test_documents_show_every_program() -> None:
    assert {line.split()[1] for _, line in COMMAND_LINES} == set(COMMANDS)


def strings(tree: object) -> list[str]:
    if isinstance(tree, dict):
        return [found for value in tree.values() for found in strings(value)]
    if isinstance(tree, list):
        return [found for value in tree for found in strings(value)]
    return [tree] if isinstance(tree, str) else []
