"""Enough judgements of annotators who differ: a reward model agrees with them almost as often as anything could."""

import pytest

from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.settings import load
from tests.finetune.judgements import planted_pairs, settings_file, write_rows
from tests.policy.tiny import tiny_llama

BIASED = 0.3  # part of the judgements by annotators who look for one word and nothing else


@pytest.mark.learning
@pytest.mark.parametrize("loss", ["bradley_terry", "k_wise"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_five_thousand_pairs_reach_the_bayes_accuracy_within_two_points(tmp_path, record_property, loss, seed):
    rows, _ = planted_pairs(5000, 2 * seed, BIASED)
    held_out, bayes = planted_pairs(5000, 2 * seed + 1, BIASED)
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_data=evaluated, loss=loss)
    found = train(load(RewardModelSettings, path, [f"training.seed={seed}"])).held_out
    record_property("bayes accuracy", bayes)
    record_property("accuracy", found.accuracy.value)
    assert 0.7 < bayes < 0.75
    assert abs(found.accuracy.value - bayes) < 0.02
