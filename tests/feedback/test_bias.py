"""People who go by length or by place are seen to; people who don't are not."""

import random
from dataclasses import replace

import pytest

from plaudit.feedback.bias import Bias, bias, off
from plaudit.feedback.records import Judgement
from plaudit.feedback.tasks import Answer, Kind, Ranks, Rating, Task


def ranked(texts: tuple[str, ...], ranks: tuple[int, ...], shown: tuple[int, ...], person: str = "Ada") -> Judgement:
    task = Task("t", Kind.RANK, "p", tuple(map(Answer, texts)))
    return Judgement(task, person, Ranks(ranks), shown, "", False, 1.0, 0.0)


def test_shares_are_those_of_pairs() -> None:
    """Longest first: 3 > 2 > 1. It is better than one of the others, and ties with one."""
    found = bias([ranked(("aaa", "aa", "a"), (1, 2, 1), (2, 0, 1))])
    assert found.longer is not None
    assert found.earlier is not None
    assert found.longer.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.earlier.value == pytest.approx((0.5 + 1 + 1) / 3)  # 2 before 0, 2 before 1, 0 before 1


def crowd(goes_by: str, seed: int) -> list[Judgement]:
    draw, judgements = random.Random(seed), []
    for _ in range(300):
        texts = ("x" * draw.randint(1, 50), "y" * draw.randint(51, 99))
        shown = (0, 1) if draw.random() < 0.5 else (1, 0)
        better = {"length": 1, "place": shown[0], "neither": draw.randint(0, 1)}[goes_by]
        if draw.random() < 0.4:
            better = draw.randint(0, 1)
        judgements.append(ranked(texts, (1, 2) if better == 0 else (2, 1), shown, goes_by))
    return judgements


def by_person(judgements: list[Judgement]) -> dict[str, Bias]:
    people = dict.fromkeys(one.person for one in judgements)
    return {person: bias(one for one in judgements if one.person == person) for person in people}


def test_each_person_goes_by_something_else() -> None:
    found = by_person([one for goes_by in ("length", "place", "neither") for one in crowd(goes_by, 3)])
    for person, (longer, earlier) in {"length": (0.8, 0.5), "place": (0.5, 0.8), "neither": (0.5, 0.5)}.items():
        for estimate, expected in ((found[person].longer, longer), (found[person].earlier, earlier)):
            assert estimate is not None
            assert estimate.standard_error is not None
            assert abs(estimate.value - expected) < 4 * estimate.standard_error
            assert (estimate.value > 0.5 + 5 * estimate.standard_error) == (expected > 0.5)


def test_of_what_is_not_ranked_nothing_is_said() -> None:
    rated = Judgement(Task("t", Kind.RATING, "p", (Answer("a"),)), "Ada", Rating(3), (0,), "", False, 1.0, 0.0)
    assert bias([rated]).longer is bias([]).earlier is None
    elsewhere = replace(ranked(("a", "bb"), (2, 1), (0, 1)), seconds=None)
    assert bias([elsewhere]).earlier is None, "what was said elsewhere was on no screen that is known"
    assert bias([elsewhere]).longer is not None
    assert bias([ranked(("aa", "bb"), (1, 2), (0, 1))]).longer is None, "of one length"


def test_who_goes_by_place_is_marked_and_hardly_anybody_else() -> None:
    """Of a hundred crowds of twelve people who go by nothing, five or so mark somebody by chance."""
    marked = 0
    for seed in range(100):
        draw = random.Random(seed)
        judgements = []
        for person in range(12):
            for _ in range(40):
                shown = (0, 1) if draw.random() < 0.5 else (1, 0)
                texts = ("x" * draw.randint(1, 50), "y" * draw.randint(1, 50))
                judgements.append(ranked(texts, draw.choice([(1, 2), (2, 1), (1, 1)]), shown, f"P{person}"))
        marked += any(off(by_person(judgements)).values())
    assert marked <= 12
    found = off(by_person([*judgements, *crowd("place", seed=1), *crowd("length", seed=2)]))
    assert {person: names for person, names in found.items() if names} == {"place": ("earlier",), "length": ("longer",)}


def test_longer_answers_that_everybody_prefers_are_nobodys_bias() -> None:
    everybody = [one for seed in range(5) for one in crowd("length", seed)]
    theirs = [Judgement(one.task, f"P{at // 300}", *_rest(one)) for at, one in enumerate(everybody)]
    assert not any(off(by_person(theirs)).values())
    alone = [ranked(("a", "bb"), (2, 1), (0, 1))] * 30
    assert off(by_person(alone)) == {"Ada": ("earlier",)}, "there are no others to go by length with"
    assert off(by_person(alone[:5])) == {"Ada": ()}, "of few it may be chance"


def _rest(one: Judgement) -> tuple:
    return one.verdict, one.shown, one.comment, one.flagged, one.seconds, one.created_at
