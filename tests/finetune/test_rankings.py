"""The loss over whole rankings: by hand, as pairs where a ranking is one, and what it learns of a planted worth."""

import json
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from plaudit.finetune.rankings import RenderedRankings, k_wise
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.trainer import collate
from plaudit.settings import load
from tests.finetune import judgements
from tests.finetune.judgements import TRAINING, WORTH, write_rows
from tests.policy.tiny import tiny_llama

SIZE = 5


def planted(count, seed=0):
    """Five answers each in the order of their words' worth plus Gumbel noise, so that a pair is drawn by
    Bradley-Terry; the best two tie. And the Bayes accuracy on the pairs that differ."""
    random = np.random.default_rng(seed)
    rows, certainty = [], []
    for number in range(count):
        answers = [list(random.choice(list(WORTH), size=4)) for _ in range(SIZE)]
        worth = np.array([sum(WORTH[word] for word in answer) for answer in answers])
        places = np.argsort(np.argsort(-(worth + random.gumbel(size=SIZE))))
        ranks = np.maximum(places, 1)
        rows.append({"prompt": f"where {number}", "responses": [" ".join(a) for a in answers], "ranks": ranks.tolist()})
        unequal = [(i, j) for i, j in combinations(range(SIZE), 2) if ranks[i] != ranks[j]]
        certainty += [(worth[i] > worth[j]) == (ranks[i] < ranks[j]) for i, j in unequal if worth[i] != worth[j]]
        certainty += [0.5 for i, j in unequal if worth[i] == worth[j]]
    return rows, float(np.mean(certainty))


def settings_of(folder, rows, **changes):
    folder.mkdir(exist_ok=True)
    own = {"loss": "k_wise", "training": TRAINING | {"batch_size": 8}}
    path = judgements.settings_file(folder, tiny_llama(folder / "base"), rows, **(own | changes))
    return load(RewardModelSettings, path)


def test_a_planted_worth_is_learnt_from_rankings_almost_to_the_bayes_accuracy(tmp_path):
    rows, _ = planted(300)
    held_out, bayes = planted(200, seed=1)
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    found = train(settings_of(tmp_path, rows, eval_data=evaluated)).held_out
    assert 0.75 < bayes < 0.9
    assert found.accuracy.n == 200 * 9  # of ten pairs one ties
    assert abs(found.accuracy.value - bayes) < 0.04


def test_a_run_of_one_step_learns(tmp_path):
    """A warm-up's first step has a rate of 0: of so few steps none is one of warm-up."""
    rows, _ = planted(6)
    result = train(settings_of(tmp_path, rows, eval_fraction=0, training={"batch_size": 8, "learning_rate": 0.01}))
    steps = list(map(json.loads, (result.folder / "metrics.jsonl").read_text().splitlines()))
    assert [step["learning_rate"] for step in steps if "loss" in step] == [0.01]


def test_ranks_in_any_order_teach_nothing(tmp_path):
    rows, _ = planted(300)
    random = np.random.default_rng(0)
    rows = [row | {"ranks": random.permutation(SIZE).tolist()} for row in rows]
    held_out, _ = planted(200, seed=1)
    evaluated = {"source": write_rows(tmp_path / "held_out.jsonl", held_out)}
    found = train(settings_of(tmp_path, rows, eval_data=evaluated)).held_out
    assert abs(found.accuracy.value - 0.5) < 0.2  # whatever was learnt, it is not the worth: 0.8 and more


def test_a_ranking_weighs_the_same_however_many_it_ranks():
    """Two pairs of equal margin weigh a half each, one of two responses the other half."""
    elements = [
        {"ids": [[1, 2], [3], [4]], "pairs": [(0, 1)], "ties": [(1, 2)], "margin": 0.5, "weight": 1.0},
        {"ids": [[5], [6, 7, 8]], "pairs": [(1, 0)], "ties": [], "margin": 1.0, "weight": 1.0},
    ]
    batch = collate(RenderedRankings([], [], 0, 0), elements, pad_token_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 0], [3, 0, 0], [4, 0, 0], [5, 0, 0], [6, 7, 8]]  # each of them once
    assert batch["attention_mask"].sum(1).tolist() == [2, 1, 1, 1, 3]
    assert batch["pairs"].tolist() == [[0, 1], [1, 2], [4, 3]]
    assert batch["ties"].tolist() == [False, True, False]
    assert batch["weights"].tolist() == [0.5, 0.5, 1.0]
    assert batch["margins"].tolist() == [0.5, 0.5, 1.0]
    assert len(batch["labels"]) == 2  # judgements in the batch


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=6), min_size=1, max_size=4), st.integers(0, 99))
def test_the_loss_agrees_with_the_obvious_loop(rankings, seed):
    random, first = np.random.default_rng(seed), 0
    elements, losses = [], []
    rewards = torch.tensor(random.normal(size=sum(map(len, rankings))))
    for ranks in rankings:
        own, first = rewards[first : first + len(ranks)], first + len(ranks)
        pairs = [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]
        if pairs:
            losses.append(np.mean([-logsigmoid(own[i] - own[j]) for i, j in pairs]))
        elements.append((ranks, pairs, own))
    told = {"ties": [], "margin": 0.0, "weight": 1.0}
    kept = [{"ids": [[1]] * len(ranks), "pairs": pairs, **told} for ranks, pairs, _ in elements if pairs]
    if not kept:
        return
    told = RenderedRankings.told(kept)
    told |= {name: told[name].double() for name in ("margins", "weights")}
    of_kept = torch.cat([own for _, pairs, own in elements if pairs])
    assert float(k_wise(of_kept, told)) == pytest.approx(np.sum(losses), rel=1e-5)
