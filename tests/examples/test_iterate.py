"""Rounds in the demo's world: judgements of the newer policy's answers take the utility further."""

import json

import pytest

from plaudit.uncertainty import Estimate
from tests.examples.programs import run


def gain(folder, number, since):
    figures = json.loads((folder / f"rounds/round-{number}/evaluation.json").read_text())
    return Estimate(**figures["gold_gain"][since])


@pytest.mark.learning
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_second_round_is_better_than_the_first(tmp_path, seed):
    folder = tmp_path / "iterate"
    run("iterate", folder, "--seed", str(seed))
    assert gain(folder, 1, "first").errors > 5
    assert gain(folder, 2, "first").errors > 5
    assert gain(folder, 2, "previous").value > 0
    card = (folder / "rounds/policy/README.md").read_text()
    assert "**No person judged.**" in card
    assert (folder / "rounds/report.html").stat().st_size > 10_000
