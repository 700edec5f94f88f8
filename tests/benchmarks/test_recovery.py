"""People of known reliability judge a known utility: both come back, and it helps to weigh people by reliability."""

import sys
from pathlib import Path

import numpy as np
import pytest

from plaudit.feedback.reliability import reliabilities
from plaudit.uncertainty import paired_difference

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "reward_model"))

from planted import RELIABILITY, World
from recovery import recover


def test_a_persons_reliability_is_how_often_they_choose_the_better_answer():
    world = World(0)
    words = world.draw(4000, 2, stream=7)
    better = {f"task {number}": bool(one[0] > one[1]) for number, one in enumerate(world.utility(words))}
    right = {person: [] for person in RELIABILITY}
    for judgement in world.judge(words, len(RELIABILITY), stream=8):
        right[judgement.person].append((judgement.verdict.ranks == (1, 2)) == better[judgement.task.key])
    for person, told in right.items():
        assert np.mean(told) == pytest.approx(RELIABILITY[person], abs=0.03)


def test_no_scorer_agrees_with_people_more_often_than_the_utility():
    world = World(0)
    utility = world.utility(world.draw(2000, 2, stream=7))
    best = world.agreement(utility, utility[:, 0] > utility[:, 1])
    assert np.all(best >= world.agreement(utility, np.random.default_rng(0).random(2000) < 0.5))
    assert best.mean() == pytest.approx(np.mean(list(RELIABILITY.values())), abs=0.01)


def test_reliabilities_come_back_in_order():
    world = World(3)
    judgements = list(world.judge(world.draw(1700, 2, stream=2), 3, stream=3))
    found = reliabilities(judgements)
    estimated = [found[person] for person in RELIABILITY]
    places = np.argsort(np.argsort(estimated))
    assert len(judgements) == 5100
    assert np.corrcoef(places, np.arange(12))[0, 1] >= 0.9


@pytest.mark.learning
@pytest.mark.parametrize("loss", ["bradley_terry", "k_wise"])
def test_weighing_people_by_estimated_reliability_beats_not_weighing_them(tmp_path, record_property, loss):
    """Over seeds, by the true utility of held-out pairs; and people agree with it almost as often as they could."""
    weighted, unweighted, missing = [], [], []
    for seed in (100, 101, 102):
        found = recover(tmp_path / str(seed), seed, loss)
        assert found.rank_correlation >= 0.9
        missing.append(found.bayes - found.agreement["weighted"])
        weighted += found.right["weighted"]
        unweighted += found.right["unweighted"]
    gain = paired_difference(weighted, unweighted)
    record_property("gain", f"{gain:.4f}")
    assert gain.interval[0] > 0
    assert np.mean(missing) < 0.02
