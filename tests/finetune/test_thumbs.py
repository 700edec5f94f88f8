"""Cross-entropy on thumbs: what is learnt of a planted chance, in which unit the folder scores, what is refused."""

import numpy as np
import pytest
from scipy.special import expit, logit

from plaudit.cli import main
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.settings import load
from tests.finetune import judgements
from tests.finetune.judgements import TRAINING, WORTH, write_rows
from tests.finetune.test_ratings import served
from tests.policy.tiny import tiny_llama

UP = 1.5
"""What is added to the worth of four words: three thumbs of four are up."""


def planted(count, seed=0):
    """In trl's shape, and the log-odds of each."""
    random = np.random.default_rng(seed)
    rows, known = [], []
    for number in range(count):
        words = list(random.choice(list(WORTH), size=4))
        odds = UP + sum(WORTH[word] for word in words)
        up = bool(random.random() < expit(odds))
        rows.append({"prompt": f"where {number}", "completion": " ".join(words), "label": up})
        known.append(odds)
    return rows, np.array(known)


def settings_file(tmp_path, rows, **changes):
    own = {"loss": "binary_cross_entropy", "training": TRAINING | {"epochs": 3}}
    return judgements.settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, **(own | changes))


def test_planted_thumbs_are_learnt_almost_to_what_can_be_known(tmp_path):
    rows, _ = planted(1_200)
    held_out, known = planted(600, seed=1)
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    result = train(load(RewardModelSettings, settings_file(tmp_path, rows, eval_data=evaluated, calibrate=False)))
    found, up = result.held_out, np.array([row["label"] for row in held_out])
    least = np.mean(np.logaddexp(0, np.where(up, -known, known)))
    most = np.mean((known > 0) == up)
    assert 0.6 < up.mean() < 0.8
    assert found.log_loss.value < least + 0.04
    assert found.accuracy.value > most - 0.04
    assert found.gain.interval[0] > 0.05
    assert found.auc.interval[0] > 0.75
    assert f"log loss {found.log_loss:.3f} on 600 thumbs" in result.summary()
    assert f"gain over it {found.gain:+.3f}" in result.summary()

    answers = [row | {"response": row["completion"]} for row in held_out]
    odds = served(tmp_path / "out", answers)  # uncalibrated: log-odds themselves
    assert np.mean(expit(odds)) == pytest.approx(up.mean(), abs=0.05)
    assert np.corrcoef(odds, known)[0, 1] > 0.9


def test_thumbs_at_random_teach_nothing_and_the_base_rate_stands(tmp_path):
    rows, _ = planted(400)
    said = np.random.default_rng(0).permutation([row["label"] for row in rows])
    rows = [row | {"label": bool(up)} for row, up in zip(rows, said, strict=True)]
    held_out, _ = planted(300, seed=1)
    said = np.random.default_rng(1).permutation([row["label"] for row in held_out])
    held_out = [row | {"label": bool(up)} for row, up in zip(held_out, said, strict=True)]
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    path = settings_file(tmp_path, rows, eval_data=evaluated)
    found = train(load(RewardModelSettings, path, ["training.epochs=1"])).held_out
    assert found.gain.value < 0.02
    assert abs(found.auc.value - 0.5) < 0.12


def test_before_anything_is_learnt_it_says_the_base_rate(tmp_path):
    """Though the head has no bias: the loss starts at the base rate's entropy, give or take a fresh head's noise."""
    rows, _ = planted(200)
    path = settings_file(tmp_path, rows, eval_fraction=0, calibrate=False)
    train(load(RewardModelSettings, path, ["training.learning_rate=0", "training.epochs=1"]))
    rate = np.mean([row["label"] for row in rows])
    odds = served(tmp_path / "out", [row | {"response": row["completion"]} for row in rows])
    assert abs(odds.mean() - logit(rate)) < 1.5


@pytest.mark.parametrize("up", [True, False])
def test_thumbs_that_are_all_alike_are_refused_before_anything_is_written(tmp_path, capsys, up):
    rows = [row | {"label": up} for row in planted(20)[0]]
    assert main(["reward-model", settings_file(tmp_path, rows)]) == 2
    assert f"training thumbs is {'up' if up else 'down'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
