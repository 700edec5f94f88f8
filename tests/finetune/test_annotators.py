"""Enough judgements of annotators who differ: a reward model agrees with them almost as often as anything could."""

import numpy as np
import pytest
from scipy.special import expit

from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.settings import load
from tests.finetune.judgements import settings_file, write_rows
from tests.policy.tiny import tiny_llama

WORTH = {"thank": 1.5, "order": 0.5, "about": 0.0, "quick": -0.5, "brown": -1.5}
BIAS = {"thank": 0.0, "order": 0.0, "about": 0.0, "quick": 2.0, "brown": 0.0}
BIASED = 0.3  # part of the judgements by annotators who look for one word and nothing else


def judged(count, seed):
    """Pairs, and the accuracy of a scorer that knows how likely each judgement was."""
    random = np.random.default_rng(seed)
    rows, certainty = [], []
    for number in range(count):
        one, two = (list(random.choice(list(WORTH), size=4)) for _ in range(2))
        by_worth, by_bias = (expit(sum(u[w] for w in one) - sum(u[w] for w in two)) for u in (WORTH, BIAS))
        probability = (1 - BIASED) * by_worth + BIASED * by_bias
        chosen, rejected = (one, two) if random.random() < probability else (two, one)
        rows.append({"prompt": f"where {number}", "chosen": " ".join(chosen), "rejected": " ".join(rejected)})
        certainty.append(max(probability, 1 - probability))
    return rows, float(np.mean(certainty))


@pytest.mark.learning
@pytest.mark.parametrize("loss", ["bradley_terry", "k_wise"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_five_thousand_pairs_reach_the_bayes_accuracy_within_two_points(tmp_path, record_property, loss, seed):
    rows, _ = judged(5000, 2 * seed)
    held_out, bayes = judged(5000, 2 * seed + 1)
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_data=evaluated, loss=loss)
    found = train(load(RewardModelSettings, path, [f"training.seed={seed}"])).held_out
    record_property("bayes accuracy", bayes)
    record_property("accuracy", found.accuracy.value)
    assert 0.7 < bayes < 0.75
    assert abs(found.accuracy.value - bayes) < 0.02
