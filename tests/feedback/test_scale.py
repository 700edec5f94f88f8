"""Strengths and ratings against their definitions, against planted ones, and against another library's."""

import math
import random
from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from choix import ilsr_pairwise_dense
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plaudit.feedback import bradley_terry, elo
from plaudit.feedback.records import Judgement
from plaudit.feedback.reliability import fit
from plaudit.feedback.scale import Placing, leaderboard, scales
from plaudit.feedback.tasks import Answer, Kind, Ranks, Rating, Task

UTILITIES = {"ant": -1.2, "bee": -0.3, "cow": 0.0, "dog": 0.4, "eel": 1.1}


def said(key: str, sources: tuple[str, ...], ranks: tuple[int, ...], person: str = "Ada", **changes) -> Judgement:
    flagged = changes.pop("flagged", False)
    task = Task(key, Kind.RANK, "p", tuple(Answer(f"{at}", source) for at, source in enumerate(sources)), **changes)
    return Judgement(task, person, Ranks(ranks), tuple(range(len(ranks))), "", flagged, 1.0, 0.0)


def ordered(draw: random.Random, sources: tuple[str, ...]) -> tuple[int, ...]:
    """A ranking in which each two are in order as Bradley and Terry's model has it: by utilities with Gumbel noise."""
    felt = [UTILITIES[source] - math.log(-math.log(draw.random())) for source in sources]
    return tuple(1 + sum(other > one for other in felt) for one in felt)


def crowd(seed: int, tasks: int, answers: int = 2, people: int = 1) -> list[Judgement]:
    draw, judgements = random.Random(seed), []
    for task in range(tasks):
        sources = tuple(draw.sample(sorted(UTILITIES), answers))
        judgements += [said(f"{task}", sources, ordered(draw, sources), f"P{at}") for at in range(people)]
    return judgements


def by_climbing(wins: np.ndarray, tie: float) -> list[float]:
    """The log-likelihood's maximum, uphill by its definition, one strength after the other."""

    def likelihood(s: list[float]) -> float:
        total = sum(tie / 2 * math.log(1 / (1 + math.exp(-one)) / (1 + math.exp(one))) for one in s)
        for i, j in permutations(range(len(s)), 2):
            total -= wins[i, j] * math.log(1 + math.exp(s[j] - s[i]))
        return total

    found, by = [0.0] * len(wins), 1.0
    while by > 1e-7:
        moved = False
        for at in range(len(found)):
            for change in (by, -by):
                there = [one + change * (place == at) for place, one in enumerate(found)]
                if likelihood(there) > likelihood(found):
                    found, moved = there, True
        by = by if moved else by / 2
    return found


def test_strengths_are_most_likely() -> None:
    wins = np.array([[0, 3, 1.5], [1, 0, 4], [0.5, 0, 0]])
    for tie in (1.0, 0.3):
        assert bradley_terry.strengths(wins, tie) == pytest.approx(by_climbing(wins, tie), abs=1e-4)


def test_another_library_finds_the_same() -> None:
    """The tie that is added is one more player, of strength 0 by definition."""
    wins = np.random.default_rng(0).integers(0, 9, (6, 6)).astype(float)
    np.fill_diagonal(wins, 0)
    with_tie = np.pad(wins, (0, 1), constant_values=0.5)
    with_tie[-1, -1] = 0
    theirs = ilsr_pairwise_dense(with_tie, max_iter=10_000, tol=1e-12)
    assert bradley_terry.strengths(wins) == pytest.approx(theirs[:-1] - theirs[-1], abs=1e-6)


@given(arrays(np.float64, st.integers(1, 8).map(lambda n: (n, n)), elements=st.sampled_from([0.0, 0.5, 1, 30, 1e5])))
@settings(deadline=None, max_examples=200)
def test_whatever_was_said_has_most_likely_strengths(wins: np.ndarray) -> None:
    """Where one wins everything, and where nobody was compared with somebody else, too."""
    np.fill_diagonal(wins, 0)
    found = bradley_terry.strengths(wins)
    expected = [
        sum((wins[i, j] + wins[j, i]) / (1 + math.exp(found[j] - found[i])) for j in range(len(wins)))
        + (1 / (1 + math.exp(-found[i])) - 0.5)
        for i in range(len(wins))
    ]
    assert wins.sum(axis=1) == pytest.approx(expected, abs=1e-5), "each has won as often as the model expects"
    assert np.isfinite(bradley_terry.standard_errors(wins, found)).all()


def test_many_at_once_are_as_one_by_one() -> None:
    wins = np.random.default_rng(1).integers(0, 5, (7, 3, 3)).astype(float)
    found = bradley_terry.strengths(wins)
    assert found == pytest.approx(np.stack([bradley_terry.strengths(one) for one in wins]))
    assert bradley_terry.strengths(wins, near=found + 0.1) == pytest.approx(found)


def test_elo_is_the_mean_over_all_orders() -> None:
    games = [(0, 1, 1.0), (1, 2, 0.5), (2, 0, 1.0), (0, 1, 0.0), (1, 2, 1.0)]
    every = []
    for order in permutations(games):
        rating = [1000.0] * 3
        for first, second, won in order:
            change = 32 * (won - 1 / (1 + 10 ** ((rating[second] - rating[first]) / 400)))
            rating[first], rating[second] = rating[first] + change, rating[second] - change
        every.append(rating)
    first, second, won = (np.array(column) for column in zip(*games, strict=True))
    found = elo.ratings(elo.Games(3, first, second, won, np.arange(5), 5), np.random.default_rng(0))
    assert found == pytest.approx(np.mean(every, axis=0), abs=4 * np.std(every, axis=0).max() / elo.ORDERS**0.5)


def test_a_leaderboard_finds_planted_utilities() -> None:
    found = leaderboard(crowd(0, tasks=400, answers=3, people=2))
    assert [one.source for one in found] == sorted(UTILITIES, key=lambda source: -UTILITIES[source])
    for one in found:
        assert abs(one.strength.value - UTILITIES[one.source]) < 4 * one.strength.standard_error < 0.5
        assert abs((one.elo.value - 1000) * math.log(10) / 400 - UTILITIES[one.source]) < 0.3
    assert sum(one.pairs for one in found) == 2 * 400 * 2 * 3
    assert [one.won.value for one in found] == sorted((one.won.value for one in found), reverse=True)


def test_standard_errors_are_those_of_other_samples() -> None:
    """Of thirty data sets: as many strengths are within two of them as should be."""
    within, errors, values = [], [], []
    for seed in range(30):
        found = {one.source: one for one in leaderboard(crowd(seed, tasks=60, answers=3), seed=seed)}
        middle = fmean(UTILITIES.values())
        for source, one in found.items():
            within.append(abs(one.strength.value - UTILITIES[source] + middle) < 2 * one.strength.standard_error)
        errors.append([found[source].elo.standard_error for source in UTILITIES])
        values.append([found[source].elo.value for source in UTILITIES])
    assert 0.88 < fmean(within) <= 0.99
    assert np.mean(errors, axis=0) == pytest.approx(np.std(values, axis=0), rel=0.35)


def test_answers_of_one_task_have_numbers_with_errors() -> None:
    """A hundred people put them in order."""
    within = []
    for seed in range(30):
        draw, sources = random.Random(seed), tuple(UTILITIES)[:2]
        people = [said("t", sources, ordered(draw, sources), f"P{at}") for at in range(100)]
        [(worse, better)] = scales(people).values()
        assert worse.value == pytest.approx(-better.value)
        gap = (UTILITIES["bee"] - UTILITIES["ant"]) / 2
        within.append(abs(better.value - gap) < 2 * better.standard_error)
    assert fmean(within) > 0.85


def test_ties_and_order_and_what_is_said_twice() -> None:
    judgements = [*crowd(3, tasks=50, answers=3, people=2), said("tie", ("ant", "eel"), (1, 1))]
    once = {one.source: one for one in leaderboard(judgements)}
    shuffled = random.Random(0).sample(judgements, len(judgements))
    twice = [*judgements, *(said(f"again {one.task.key}", *sources_and_ranks(one)) for one in judgements)]
    for one in leaderboard(shuffled):
        assert one.strength.value == pytest.approx(once[one.source].strength.value)
        assert abs(one.elo.value - once[one.source].elo.value) < 10
    for one in leaderboard(twice):
        before = once[one.source].strength
        assert abs(one.strength.value - before.value) < 0.15 * before.standard_error
        assert one.strength.standard_error == pytest.approx(before.standard_error / 2**0.5, rel=0.25)
    [(first, second)] = scales(judgements[-1:]).values()
    assert first.value == second.value == 0


def sources_and_ranks(judgement: Judgement) -> tuple[tuple[str, ...], tuple[int, ...]]:
    assert isinstance(judgement.verdict, Ranks)
    return tuple(answer.source for answer in judgement.task.answers), judgement.verdict.ranks


def test_what_says_nothing_of_models_is_left_out() -> None:
    counts = said("1", ("ant", "bee"), (1, 2))
    rated = Judgement(Task("r", Kind.RATING, "p", (Answer("a", "ant"),)), "Ada", Rating(3), (0,), "", False, 1.0, 0.0)
    others = [
        rated,
        said("2", ("ant", "ant"), (2, 1)),
        said("3", ("", "bee"), (2, 1)),
        said("4", ("ant", "bee"), (2, 1), flagged=True),
        said("5", ("ant", "bee"), (2, 1), gold=Ranks((1, 2))),
    ]
    assert leaderboard([counts, *others]) == leaderboard([counts])
    assert [one.strength.standard_error for one in leaderboard([counts])] == [None, None], "of one task"
    assert leaderboard(others) == []
    assert list(scales([counts, *others])) == ["1", "2", "3"], "answers have numbers whoever wrote them"


def test_of_whom_guesses_nothing_counts() -> None:
    """Four of ten people guess: with what is known of them strengths are not drawn together."""
    draw = random.Random(5)
    judgements = []
    for task in range(300):
        sources = tuple(draw.sample(sorted(UTILITIES), 2))
        right = ordered(draw, sources)
        for person in draw.sample(range(10), 3):
            ranks = draw.choice([(1, 2), (2, 1)]) if person < 4 else right
            judgements += [said(f"{task}", sources, ranks, f"P{person}")]
    middle = fmean(UTILITIES.values())

    def error(found: list[Placing]) -> float:
        return fmean((one.strength.value - UTILITIES[one.source] + middle) ** 2 for one in found) ** 0.5

    alike, weighed = leaderboard(judgements), leaderboard(judgements, fit(judgements).people)
    assert error(weighed) < 0.6 * error(alike)
    assert [one.won for one in weighed] == [one.won for one in alike]
    assert leaderboard(judgements, dict.fromkeys((f"P{at}" for at in range(10)), 1.0)) == alike
    assert leaderboard(judgements, dict.fromkeys((f"P{at}" for at in range(10)), 0.5))[0].strength.value == 0


def test_of_many_sources_those_with_most_pairs_are_listed() -> None:
    many = [said(f"{at}", (f"person {at}", "ant"), (1, 2)) for at in range(80)]
    often = [said(f"often {at}", ("bee", "ant"), (1, 2)) for at in range(5)]
    found = leaderboard([*many, *often])
    assert len(found) == 50
    assert {one.source: one.pairs for one in found if one.source in UTILITIES} == {"ant": 53, "bee": 5}
