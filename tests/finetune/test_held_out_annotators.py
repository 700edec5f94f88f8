"""People who are held out: never learnt from, and how well they are predicted is told beside the others."""

import json
import re

import pytest
import torch

from plaudit.cli import main
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.reward.loading import load_model
from plaudit.settings import load
from tests.finetune.judgements import planted_pairs, settings_file
from tests.policy.tiny import tiny_llama

PEOPLE = ("Ada", "Bob", "Cleo", "Dan")


def judged(count, contrary=()):
    """Rows of four people in turn; whoever is contrary says the opposite."""
    rows = [row | {"annotator": PEOPLE[number % 4]} for number, row in enumerate(planted_pairs(count)[0])]
    turned = {"chosen": "rejected", "rejected": "chosen"}
    return [
        {turned.get(key, key): value for key, value in row.items()} if row["annotator"] in contrary else row
        for row in rows
    ]


def trained(folder, rows, **changes):
    folder.mkdir()
    path = settings_file(folder, tiny_llama(folder / "base"), rows, **changes)
    return train(load(RewardModelSettings, path))


def weights(folder):
    return torch.cat([parameter.flatten() for parameter in load_model(folder).parameters()])


def test_nobody_held_out_is_learnt_from(tmp_path):
    rows = judged(96)
    held_out = trained(tmp_path / "held_out", rows, held_out_annotators=["Ada", "Dan"])
    others = trained(tmp_path / "others", [row for row in rows if row["annotator"] not in ("Ada", "Dan")])
    everybody = trained(tmp_path / "everybody", rows)
    assert torch.equal(weights(held_out.folder), weights(others.folder))
    assert not torch.equal(weights(held_out.folder), weights(everybody.folder))


def test_who_judges_otherwise_is_told_beside_the_others(tmp_path):
    result = trained(tmp_path / "run", judged(1000, contrary=["Cleo"]), held_out_annotators=["Cleo"])
    others, hers = result.measured.values()
    assert list(result.measured) == ["held out", "held-out annotators (Cleo)"]
    assert others[0].accuracy.value > 0.7
    assert hers[0].accuracy.value < 0.3
    assert hers[0].accuracy.n == 250
    assert result.held_out is others[0]
    assert f"held-out annotators (Cleo): accuracy {hers[0].accuracy:.3f}" in result.summary()


def test_a_share_of_the_people_is_drawn_by_seed(tmp_path, capsys):
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), judged(48), held_out_annotators=0.5)
    drawn = set()
    for run, seed in enumerate((0, 0, 1, 2, 3)):
        assert main(["reward-model", path, f"training.seed={seed}", f"output={tmp_path}/{run}"]) == 0
        (names,) = re.findall(r"held-out annotators \((.*?)\)", capsys.readouterr().out)
        drawn.add((seed, names))
    assert len(drawn) == 4  # the same seed draws the same
    assert len({names for _, names in drawn}) > 1
    assert all(len(names.split(", ")) == 2 for _, names in drawn)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["Eve"], "held_out_annotators: 'Eve' is no row's annotator: known are Ada, Bob, Cleo, Dan"),
        (list(PEOPLE), "held_out_annotators leaves nobody to learn from"),
        (1.5, "held_out_annotators"),
    ],
)
def test_who_cannot_be_held_out_is_named_before_anything_is_written(tmp_path, capsys, asked, message):
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), judged(20), held_out_annotators=asked)
    assert main(["reward-model", path]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rows_without_a_name_are_nobodys(tmp_path, capsys):
    rows, _ = planted_pairs(20)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, held_out_annotators=["Ada"])
    assert main(["reward-model", path]) == 2
    assert "the rows have no 'annotator'" in capsys.readouterr().err
    assert json.loads((tmp_path / "data.jsonl").read_text().splitlines()[0]).keys() == {"prompt", "chosen", "rejected"}
