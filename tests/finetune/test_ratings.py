"""Regression on ratings: what is learnt of a planted worth, in which unit the folder scores, what is refused."""

import json

import numpy as np
import pytest
import torch

from plaudit.cli import main
from plaudit.finetune.ratings import squared_error
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.reward import folder as reward_folder
from plaudit.reward.loading import load_model, load_tokenizer, score_alone
from plaudit.reward.rendering import render
from plaudit.settings import load
from tests.finetune import judgements
from tests.finetune.judgements import TRAINING, write_rows
from tests.policy.tiny import tiny_llama
from tests.reward import tiny_models

WORTH = {"thank": 1.0, "order": 0.4, "about": 0.0, "quick": -0.4, "brown": -1.0}
NOISE = 0.7


def planted(count, seed=0):
    """Stars from 1 to 5 for four words, and the variance that the words explain: no scorer has a higher R²."""
    random = np.random.default_rng(seed)
    rows, known = [], []
    for number in range(count):
        words = list(random.choice(list(WORTH), size=4))
        worth = 3 + sum(WORTH[word] for word in words)
        stars = int(np.clip(round(worth + NOISE * random.normal()), 1, 5))
        rows.append({"prompt": f"where {number}", "response": " ".join(words), "score": stars})
        known.append(worth)
    scores = np.array([row["score"] for row in rows])
    return rows, float(np.corrcoef(scores, known)[0, 1] ** 2)


def settings_file(tmp_path, base, rows, **changes):
    own = {"loss": "squared_error", "training": TRAINING | {"epochs": 3}}
    return judgements.settings_file(tmp_path, base, rows, **(own | changes))


def served(folder, rows):
    """Calibrated scores, as the server will give them."""
    record, tokenizer, model = reward_folder.read(folder), load_tokenizer(folder), load_model(folder)
    ids = [render(tokenizer, record.rendering, row["prompt"], row["response"]).input_ids for row in rows]
    return np.array([record.calibration.apply(score_alone(model, one)) for one in ids])


def test_planted_stars_are_learnt_almost_to_the_noise(tmp_path):
    rows, _ = planted(1_500)
    held_out, most = planted(400, seed=1)
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_data=evaluated)
    result = train(load(RewardModelSettings, path))
    found = result.held_out
    assert 0.5 < most < 0.8
    assert found.r_squared.value > most - 0.08
    assert found.correlation.value > most**0.5 - 0.05
    assert f"R² {found.r_squared:.3f} on 400 ratings" in result.summary()

    record = reward_folder.read(tmp_path / "out")
    tokenizer, model = load_tokenizer(tmp_path / "out"), load_model(tmp_path / "out")
    reward_folder.verify(tmp_path / "out", record, tokenizer, lambda ids: score_alone(model, ids))
    assert len(record.self_test) >= 2
    scores = served(tmp_path / "out", rows)
    assert abs(scores.mean()) < 0.01
    assert scores.std() == pytest.approx(1, abs=0.01)

    steps = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    losses = [step["loss"] for step in steps if "loss" in step]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    evaluations = [step["eval_loss"] for step in steps if "eval_loss" in step]
    stars = np.array([row["score"] for row in rows])
    assert evaluations[-1] * stars.std() ** 2 == pytest.approx(
        (1 - found.r_squared.value) * np.var([row["score"] for row in held_out]), rel=1e-3
    )


def test_uncalibrated_scores_are_stars(tmp_path):
    rows, _ = planted(600)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_fraction=0, calibrate=False)
    assert train(load(RewardModelSettings, path)).held_out is None
    stars, scores = np.array([row["score"] for row in rows]), served(tmp_path / "out", rows)
    assert scores.mean() == pytest.approx(stars.mean(), abs=0.2)
    assert np.mean((scores - stars) ** 2) < 0.7 * stars.var()


def test_thumbs_teach_an_encoder_with_lora(tmp_path):
    rows = [
        {"prompt": f"Dog? {number}", "response": text, "score": score}
        for number in range(48)
        for text, score in (("Yes, dogs are welcome", 1), ("No", -1))
    ]
    training = {"learning_rate": 0.01, "batch_size": 8, "epochs": 6}
    path = settings_file(tmp_path, tiny_models.encoder(tmp_path / "base"), rows, training=training)
    found = train(load(RewardModelSettings, path, ["base.lora.rank=4"])).held_out
    assert found.r_squared.value > 0.8
    assert min(served(tmp_path / "out", rows[::2])) > 0 > max(served(tmp_path / "out", rows[1::2]))
    assert not list((tmp_path / "out").rglob("adapter*"))


def test_the_gradient_is_that_of_the_whole_step_however_it_is_split(tmp_path):
    rows, _ = planted(60)  # the last step has 28 rows: micro-batches of 8, 8, 8 and 4
    weights = []
    for rows_at_a_time in (32, 8):
        (folder := tmp_path / str(rows_at_a_time)).mkdir()
        path = settings_file(folder, tiny_llama(folder / "base"), rows, eval_fraction=0)
        train(load(RewardModelSettings, path, [f"training.micro_batch_size={rows_at_a_time}", "training.epochs=1"]))
        weights.append(torch.cat([p.flatten() for p in load_model(folder / "out").parameters()]))
    assert (weights[0] - weights[1]).norm() / weights[0].norm() < 1e-4


def test_squared_error_by_hand():
    assert squared_error(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).tolist() == [1.0, 4.0]


def test_held_out_ratings_that_are_all_alike_are_not_measured_and_stop_nothing(tmp_path, capsys):
    """One person who always gives 5; a single rating of a prompt that is held out."""
    rows = [row | {"annotator": "Ada"} for row in planted(40)[0]]
    rows += [row | {"annotator": "Bob", "score": 5} for row in planted(6, seed=1)[0]]
    single = {"source": write_rows(tmp_path / "held_out.jsonl", planted(2, seed=2)[0][:1])}
    people = {"held_out_annotators": ["Bob"], "training": TRAINING | {"epochs": 1}}
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_data=single, **people)
    result = train(load(RewardModelSettings, path))
    assert result.measured == {"held out": [None], "held-out annotators (Bob)": [None]}
    assert "held-out annotators (Bob): not measured: too few judgements, or all alike" in result.summary()
    told = capsys.readouterr().out
    assert "held out: 1 judgements" in told
    assert "held-out annotators: 6 judgements" in told
    assert not (tmp_path / "out/held_out.json").exists()


def test_one_response_that_several_rated_is_an_error_and_no_correlation(tmp_path):
    rows, _ = planted(40)
    same = [row | {"score": score} for row, score in zip(planted(2, seed=2)[0][:1] * 4, (1, 3, 4, 5), strict=True)]
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", same)}
    training = TRAINING | {"epochs": 1}
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_data=evaluated, training=training)
    result = train(load(RewardModelSettings, path))
    assert result.held_out.correlation is None
    assert result.held_out.r_squared.n == 4
    assert "on 4 ratings" in result.summary()
    assert "correlation" not in result.summary()


@pytest.mark.parametrize("ensemble", ["null", "{members: 2, by: folds}"])
def test_training_ratings_that_are_all_alike_are_refused_before_anything_is_written(tmp_path, capsys, ensemble):
    rows = [row | {"score": 5} for row in planted(20)[0]]
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows)
    assert main(["reward-model", path, f"ensemble={ensemble}"]) == 2
    assert "training ratings is 5: there is nothing to tell apart" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.limit=1", "every one of the 1 training ratings is "),
        ("center_rewards_coefficient=0.01", "center_rewards_coefficient is of bradley_terry"),
        ("loss=mse", "'loss' is 'mse'"),
        ("loss=bradley_terry", "'chosen' "),
        ("rendering.max_tokens=2", "every one of the 20 training ratings is longer than rendering.max_tokens 2"),
    ],
)
def test_what_cannot_work_ends_in_one_line_before_anything_is_written(tmp_path, capsys, override, message):
    rows, _ = planted(20)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_fraction=0)
    assert main(["reward-model", path, override]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not (tmp_path / "out").exists()
