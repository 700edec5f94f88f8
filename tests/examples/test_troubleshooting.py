"""The mistakes of docs/troubleshooting.md: each can be set, is told of, shows, and is mended."""

import re
import sys
from pathlib import Path

import pytest

from plaudit.report.run_folder import Run, Sample
from plaudit.settings import load
from plaudit.trainer.metrics import LEARNING
from plaudit.trainer.settings import TrainSettings
from tests.examples.programs import EXAMPLES, script

sys.path.insert(0, str(EXAMPLES / "troubleshooting"))

from cases import CASES, Case, late_mean

DOCUMENT = EXAMPLES.parent / "docs" / "troubleshooting.md"


@pytest.mark.parametrize("name", CASES)
def test_its_settings_are_settings(name: str) -> None:
    for settings in (CASES[name].wrong, CASES[name].mended):
        overrides = [f"{key}={value}" for key, value in settings.items()]
        load(TrainSettings, EXAMPLES / "troubleshooting" / "train.yaml", overrides)


def test_the_document_tells_of_every_case_once() -> None:
    assert sorted(re.findall(r"^## .*\(`([a-z-]+)`\)$", DOCUMENT.read_text(), re.MULTILINE)) == sorted(CASES)


def test_the_document_names_metrics_that_there_are() -> None:
    """As gauges of their own, but for what is a counter there or a rate."""
    told = set(
        re.findall(r"`([a-z_]+)`(?= (?:is|climbs|falls|grows|means|says|at step|more than))", DOCUMENT.read_text())
    )
    assert len(told) > 8
    assert told <= LEARNING.keys() | {"missing_rewards"}
    assert {case.metric for case in CASES.values()} <= LEARNING.keys() | {"missing_rewards", "gold"}


def test_a_mean_is_of_the_last_quarter() -> None:
    run = Run("r", steps=[{"step": float(n), "kl": float(n)} for n in range(8)])
    assert late_mean(run, "kl") == 6.5
    samples = {0: [Sample("a", "", "", gold=9.0)], 8: [Sample("a", "", "", gold=1.0), Sample("b", "", "", gold=2.0)]}
    assert late_mean(Run("r", samples=samples), "gold") == 1.5


def test_a_sign_is_on_one_side() -> None:
    assert Case({}, {}, "kl", 10).shows(11)
    assert not Case({}, {}, "kl", 10).shows(9)
    assert Case({}, {}, "entropy", 0.2, above=False).shows(0.1)


@pytest.mark.learning
def test_every_mistake_shows_and_is_mended(tmp_path: Path) -> None:
    """The program's exit code says so."""
    assert "no-signal" in script("troubleshooting/reproduce.py", "--folder", str(tmp_path / "troubleshooting"))
