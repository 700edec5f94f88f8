"""What a row's weight and a tie do to what is learnt, whichever the loss: facts of the loss, and one training."""

import numpy as np
import pytest
import torch

from plaudit.cli import main
from plaudit.finetune.bradley_terry import pair_losses
from plaudit.finetune.classifier import load_base_tokenizer
from plaudit.finetune.losses import LOSSES
from plaudit.finetune.parts import read_parts
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
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


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("model") / "base")


def settings_of(folder, base, rows, loss, **changes):
    folder.mkdir(exist_ok=True)
    own = {"eval_fraction": 0, "loss": loss, "training": TRAINING | {"epochs": 1, "batch_size": 16}}
    return load(RewardModelSettings, settings_file(folder, base, rows, **(own | changes)))


def read(folder, base, rows, loss, **changes):
    """What would be trained on."""
    settings = settings_of(folder, base, rows, loss, **changes)
    return settings, read_parts(settings, load_base_tokenizer(settings.base)).training


def gradient(settings, part):
    """(M,) of a step over all of it, by a linear model of responses' features: the bag of their tokens."""
    features = torch.zeros(len(part.rows), 200, dtype=torch.float64)
    for place, ids in enumerate(part.rows):
        for token in ids:
            features[place, token % 200] += 1
    worth = torch.linspace(-0.1, 0.1, 200, dtype=torch.float64).requires_grad_()
    (part.loss(settings)(features @ worth, part.told(part.elements(settings))) / len(part)).backward()
    return worth.grad


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_of_two_is_a_row_twice(tmp_path, base, loss):
    rows = rows_for(loss, 12)
    few = rows[:5] + rows[-5:]
    twice, heavy, once = (
        gradient(*read(tmp_path, base, given, loss))
        for given in (few + few[:3], [row | {"weight": 2 if row in few[:3] else 1} for row in few], few)
    )
    assert torch.allclose(twice, heavy, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(twice, once, rtol=1e-2)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_weights_are_no_weights_to_the_last_bit(tmp_path, base, loss):
    rows = rows_for(loss)
    plain, equal = (
        gradient(*read(tmp_path, base, given, loss)) for given in (rows, [row | {"weight": 0.3} for row in rows])
    )
    assert torch.equal(plain, equal)


def learnt(folder, base, rows):
    settings = settings_of(folder, base, rows, "bradley_terry")
    train(settings)
    return torch.cat([parameter.flatten() for parameter in load_model(settings.output).parameters()])


def test_a_model_learns_otherwise_by_other_weights_and_the_same_by_equal_ones(tmp_path, base):
    rows = rows_for("bradley_terry")
    plain = learnt(tmp_path / "plain", base, rows)
    equal = learnt(tmp_path / "equal", base, [row | {"weight": 0.3} for row in rows])
    other = learnt(tmp_path / "other", base, [row | {"weight": 1 + number % 3} for number, row in enumerate(rows)])
    assert torch.equal(plain, equal)
    assert (plain - other).norm() > 1e-3


def test_a_row_of_weight_0_is_not_trained_on(tmp_path, base, capsys):
    rows = [row | {"weight": 1} for row in rows_for("bradley_terry")]
    wrong = [{**row, "chosen": row["rejected"], "rejected": row["chosen"], "weight": 0} for row in rows]
    _, without = read(tmp_path, base, rows, "bradley_terry")
    _, beside = read(tmp_path, base, rows + wrong, "bradley_terry")
    assert (without.ids, without.weights) == (beside.ids, beside.weights)
    assert "64 judgements of weight 0 left out" in capsys.readouterr().out


def test_weights_of_nothing_but_0_are_refused_before_anything_is_written(tmp_path, base, capsys):
    rows = [row | {"weight": 0} for row in rows_for("bradley_terry")]
    assert main(["reward-model", settings_file(tmp_path, base, rows)]) == 2
    assert "training rows has weight 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_average_1(tmp_path, base):
    rows = [row | {"weight": weight} for row, weight in zip(rows_for("bradley_terry", 3), (1, 2, 9), strict=True)]
    assert read(tmp_path, base, rows, "bradley_terry")[1].weights == pytest.approx([0.25, 0.5, 2.25])


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
def test_ties_are_left_out_unless_asked_for(tmp_path, base, loss):
    rows = tied(64)
    differ = [row for row in rows if row["ranks"] != [1, 1]]
    assert 16 < len(differ) < 48
    left_out, without, half = (
        gradient(*read(tmp_path, base, given, loss, ties=ties))
        for given, ties in ((rows, "left_out"), (differ, "left_out"), (rows, "half"))
    )
    assert torch.equal(left_out, without)
    assert not torch.allclose(half, without, rtol=1e-2)


def test_what_is_measured_are_the_pairs_that_differ(tmp_path, base, capsys):
    rows = tied(60)
    path = settings_file(tmp_path, base, rows, ties="half", eval_fraction=0.5)
    assert main(["reward-model", path]) == 0
    told = capsys.readouterr().out
    judged = int(told.split("held out: ")[1].split(" judgements")[0])
    pairs = int(told.split(" pairs that differ")[0].rsplit(" ", 1)[1])
    assert judged == 30
    assert 0 < pairs < judged


def test_ties_are_no_matter_of_ratings(tmp_path, base, capsys):
    path = settings_file(tmp_path, base, rows_for("squared_error"))
    assert main(["reward-model", path, "loss=squared_error", "ties=half"]) == 2
    assert "ties are of bradley_terry and k_wise" in capsys.readouterr().err
