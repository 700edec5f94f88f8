"""Verdicts fit their tasks, or are refused."""

from typing import Any

import pytest

from plaudit.feedback.tasks import (
    Answer,
    Demonstration,
    Kind,
    Ranks,
    Rating,
    Task,
    Thumb,
    WrongVerdict,
    read_verdict,
    rightness,
    write_verdict,
)

TASKS = {
    Kind.COMPARE: Task("c", Kind.COMPARE, "p", (Answer("a"), Answer("b"))),
    Kind.RANK: Task("r", Kind.RANK, "p", tuple(map(Answer, "abcd"))),
    Kind.THUMBS: Task("t", Kind.THUMBS, "p", (Answer("a"),)),
    Kind.RATING: Task("s", Kind.RATING, "p", (Answer("a"),)),
    Kind.DEMONSTRATION: Task("d", Kind.DEMONSTRATION, "p"),
}


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (Kind.COMPARE, Ranks((1, 1))),
        (Kind.RANK, Ranks((3, 1, 2, 1))),
        (Kind.THUMBS, Thumb(False)),
        (Kind.RATING, Rating(5)),
        (Kind.DEMONSTRATION, Demonstration("two days")),
    ],
)
def test_a_verdict_comes_back_as_it_was(kind: Kind, verdict: Any) -> None:
    assert read_verdict(TASKS[kind], write_verdict(verdict)) == verdict


@pytest.mark.parametrize(
    ("given", "right", "share"),
    [
        (Ranks((1, 2, 3, 4)), Ranks((1, 2, 3, 4)), 1.0),
        (Ranks((4, 3, 2, 1)), Ranks((1, 2, 3, 4)), 0.0),
        (Ranks((1, 2, 4, 3)), Ranks((1, 2, 3, 4)), 5 / 6),
        (Ranks((1, 1, 2, 3)), Ranks((1, 2, 3, 4)), 5.5 / 6),
        (Ranks((2, 1, 3, 4)), Ranks((1, 1, 2, 3)), 1.0),  # which of those two is better nobody knows
        (Ranks((1, 1)), Ranks((1, 1)), 1.0),
        (Ranks((1, 2)), Ranks((1, 1)), 0.0),
        (Rating(4), Rating(5), 1.0),
        (Rating(1), Rating(5), 0.0),
        (Thumb(True), Thumb(False), 0.0),
    ],
)
def test_how_right_a_verdict_is(given: Any, right: Any, share: float) -> None:
    assert rightness(given, right) == pytest.approx(share)


@pytest.mark.parametrize(
    ("kind", "tree", "told"),
    [
        (Kind.COMPARE, {"ranks": [1, 3]}, "leave none out"),
        (Kind.COMPARE, {"ranks": [2, 2]}, "begin at 1"),
        (Kind.RANK, {"ranks": [1, 2]}, "2 ranks for 4 answers"),
        (Kind.THUMBS, {"stars": 3}, "up: Field required"),
        (Kind.RATING, {"stars": 6}, "less than or equal to 5"),
        (Kind.DEMONSTRATION, {"text": ""}, "at least 1 character"),
        (Kind.RATING, {"stars": 3, "and": 1}, "and: Unexpected"),
        (Kind.RATING, [3], "dictionary"),
    ],
)
def test_a_verdict_that_does_not_fit_is_refused(kind: Kind, tree: Any, told: str) -> None:
    with pytest.raises(WrongVerdict, match=told):
        read_verdict(TASKS[kind], tree)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": Kind.COMPARE, "answers": (Answer("a"),)},
        {"kind": Kind.RANK, "answers": (Answer("a"),)},
        {"kind": Kind.DEMONSTRATION, "answers": (Answer("a"),)},
        {"kind": Kind.DEMONSTRATION, "wanted": 0},
        {"kind": Kind.THUMBS, "answers": (Answer("a"),), "gold": Rating(3)},
    ],
)
def test_what_nobody_could_judge_is_no_task(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"answers|wanted|verdict"):
        Task("k", prompt="p", **wrong)
