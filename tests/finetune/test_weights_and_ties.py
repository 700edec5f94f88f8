"""What a row's weight and a tie do to what is learnt, whichever the loss."""

import numpy as np
import pytest
import torch

from plaudit.cli import main
from plaudit.finetune.bradley_terry import pair_losses
from plaudit.finetune.pairs import RenderedPairs, pair
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.preferences.reading import Preference, Side
from plaudit.reward.loading import load_model
from plaudit.settings import load
from tests.finetune.judgements import TRAINING, WORTH, planted_pairs, settings_file
from tests.policy.tiny import tiny_llama

PAIRS = ("bradley_terry", "k_wise")


def rows_for(loss, count=64):
    """Pairs, or what a loss of single responses reads of them."""
    pairs, _ = planted_pairs(count)
    if loss in PAIRS:
        return [pair | {"margin": number % 2} for number, pair in enumerate(pairs)]
    good = [
        {"prompt": p["prompt"], "response": p["chosen"], "score": 1 + n % 2, "label": True} for n, p in enumerate(pairs)
    ]
    return good + [{"prompt": p["prompt"], "response": p["rejected"], "score": 0, "label": False} for p in pairs]


def learnt(folder, rows, loss, **changes):
    folder.mkdir()
    own = {"eval_fraction": 0, "loss": loss, "training": TRAINING | {"epochs": 1, "batch_size": 16}}
    path = settings_file(folder, tiny_llama(folder / "base"), rows, **(own | changes))
    train(load(RewardModelSettings, path))
    return torch.cat([parameter.flatten() for parameter in load_model(folder / "out").parameters()])


@pytest.mark.parametrize("loss", [*PAIRS, "squared_error", "binary_cross_entropy"])
def test_equal_weights_are_no_weights_to_the_last_bit_and_others_are_not(tmp_path, loss):
    rows = rows_for(loss)
    plain = learnt(tmp_path / "plain", rows, loss)
    equal = learnt(tmp_path / "equal", [row | {"weight": 0.3} for row in rows], loss)
    other = learnt(tmp_path / "other", [row | {"weight": 1 + number % 3} for number, row in enumerate(rows)], loss)
    assert torch.equal(plain, equal)
    assert (plain - other).norm() > 1e-3


@pytest.mark.parametrize("loss", [*PAIRS, "squared_error", "binary_cross_entropy"])
def test_a_weight_of_two_is_a_row_twice(tmp_path, loss):
    """In one step over all rows, so that order and batches say nothing."""
    rows = rows_for(loss, 12)
    few = rows[:5] + rows[-5:]
    one_step = {"training": TRAINING | {"epochs": 1, "batch_size": 64, "learning_rate": 0.01}}
    twice = learnt(tmp_path / "twice", few + few[:3], loss, **one_step)
    heavy = learnt(tmp_path / "heavy", [r | {"weight": 2 if r in few[:3] else 1} for r in few], loss, **one_step)
    once = learnt(tmp_path / "once", few, loss, **one_step)
    assert (twice - heavy).norm() < 0.05 * (twice - once).norm()


def test_a_row_of_weight_0_teaches_nothing(tmp_path, capsys):
    rows = [row | {"weight": 1} for row in rows_for("bradley_terry")]
    wrong = [{**row, "chosen": row["rejected"], "rejected": row["chosen"], "weight": 0} for row in rows]
    without, beside = (learnt(tmp_path / str(len(given)), given, "bradley_terry") for given in (rows, rows + wrong))
    assert torch.equal(without, beside)
    assert "64 judgements of weight 0 left out" in capsys.readouterr().out


def test_weights_of_nothing_but_0_are_refused_before_anything_is_written(tmp_path, capsys):
    rows = [row | {"weight": 0} for row in rows_for("bradley_terry")]
    assert main(["reward-model", settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows)]) == 2
    assert "training rows has weight 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_average_1():
    sides = Side("q", "a"), Side("q", "b")
    found = RenderedPairs([pair(Preference(*sides, "f:1", weight=weight)) for weight in (1, 2, 9)], [], 0, 0).weights
    assert found == pytest.approx([0.25, 0.5, 2.25])


def test_a_tie_is_half_a_win_each_way():
    first, second, margin = torch.tensor([1.5, 1.5]), torch.tensor([-0.5, -0.5]), torch.tensor([0.3, 0.3])
    tie, win = pair_losses(first, second, margin, torch.tensor([True, False]))
    nothing = torch.zeros(2)
    there, back = (float(pair_losses(*two, nothing, nothing.bool())[0]) for two in ((first, second), (second, first)))
    assert float(tie) == pytest.approx((there + back) / 2)  # whatever the margin
    assert float(win) == pytest.approx(float(np.log1p(np.exp(-1.7))))


def tied(count, seed=0):
    """Pairs of which those of like worth tie."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        answers = [list(random.choice(list(WORTH), size=4)) for _ in range(2)]
        gap = sum(WORTH[w] for w in answers[0]) - sum(WORTH[w] for w in answers[1]) + random.normal()
        ranks = [1, 1] if abs(gap) < 3 else [1, 2] if gap > 0 else [2, 1]
        rows.append({"prompt": f"where {number}", "responses": [" ".join(a) for a in answers], "ranks": ranks})
    return rows


@pytest.mark.parametrize("loss", PAIRS)
def test_ties_are_left_out_unless_asked_for(tmp_path, loss):
    rows = tied(64)
    differ = [row for row in rows if row["ranks"] != [1, 1]]
    assert 16 < len(differ) < 48
    left_out, without, half = (
        learnt(tmp_path / name, given, loss, ties=ties)
        for name, given, ties in (("out", rows, "left_out"), ("less", differ, "left_out"), ("half", rows, "half"))
    )
    assert torch.equal(left_out, without)
    assert (half - without).norm() > 1e-3


def test_a_ranking_of_two_that_tie_is_trls_pair_that_ties(tmp_path):
    rows = [row | {"margin": 1} for row in tied(48)]
    ours, trls, without = (
        learnt(tmp_path / name, rows, loss, ties=ties)
        for name, loss, ties in (("a", "k_wise", "half"), ("b", "bradley_terry", "half"), ("c", "k_wise", "left_out"))
    )
    assert (ours - trls).norm() < 1e-3 * (ours - without).norm()


def test_what_is_measured_are_the_pairs_that_differ(tmp_path, capsys):
    rows = tied(60)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, ties="half", eval_fraction=0.5)
    assert main(["reward-model", path]) == 0
    told = capsys.readouterr().out
    judged = int(told.split("held out: ")[1].split(" judgements")[0])
    pairs = int(told.split(" pairs that differ")[0].rsplit(" ", 1)[1])
    assert judged == 30
    assert 0 < pairs < judged


def test_ties_are_no_matter_of_ratings(tmp_path, capsys):
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows_for("squared_error"))
    assert main(["reward-model", path, "loss=squared_error", "ties=half"]) == 2
    assert "ties are of bradley_terry and k_wise" in capsys.readouterr().err
