"""What stands in a form is the verdict that a person meant, in whichever order the answers were shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.feedback.asking import shown
from plaudit.feedback.fields import fields_of, read_draft, verdict_of
from plaudit.feedback.records import Asked
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb, Verdict, WrongVerdict

RANKS = st.lists(st.integers(1, 5), min_size=2, max_size=6)


def asked(kind: Kind, order: tuple[int, ...] = (), **changes: object) -> Asked:
    task = Task("k", kind, "prompt", tuple(Answer(f"answer {at}") for at in order))
    return Asked(7, task, order, **changes)


def dense(ranks: list[int]) -> tuple[int, ...]:
    return tuple(sorted(set(ranks)).index(rank) + 1 for rank in ranks)


@given(RANKS, st.randoms())
def test_a_ranking_is_of_the_tasks_answers_however_they_were_shown(ranks: list[int], random: object) -> None:
    order = list(range(len(ranks)))
    random.shuffle(order)
    one = asked(Kind.RANK, tuple(order))
    fields = {f"rank-{place}": str(ranks[at]) for place, at in enumerate(order)}
    assert verdict_of(one, fields) == Ranks(dense(ranks))


@given(RANKS, st.randoms())
def test_what_was_taken_back_stands_in_the_form_again(ranks: list[int], random: object) -> None:
    order = list(range(len(ranks)))
    random.shuffle(order)
    verdicts: list[tuple[Kind, tuple[int, ...], Verdict]] = [
        (Kind.RANK, tuple(order), Ranks(dense(ranks))),
        (Kind.COMPARE, (1, 0), Ranks(dense(ranks[:2]))),
        (Kind.THUMBS, (0,), Thumb(ranks[0] > 2)),
        (Kind.RATING, (0,), Rating(ranks[0])),
        (Kind.DEMONSTRATION, (), Demonstration("two\nlines")),
    ]
    for kind, places, verdict in verdicts:
        one = asked(kind, places, before=verdict)
        assert verdict_of(one, fields_of(one)) == verdict


def test_the_first_one_on_the_screen_need_not_be_the_tasks_first() -> None:
    assert verdict_of(asked(Kind.COMPARE, (1, 0)), {"choice": "0"}) == Ranks((2, 1))
    assert verdict_of(asked(Kind.COMPARE, (0, 1)), {"choice": "0"}) == Ranks((1, 2))
    assert verdict_of(asked(Kind.COMPARE, (1, 0)), {"choice": "tie"}) == Ranks((1, 1))


@pytest.mark.parametrize(
    ("kind", "order", "fields"),
    [
        (Kind.COMPARE, (0, 1), {}),
        (Kind.COMPARE, (0, 1), {"choice": "2"}),
        (Kind.RANK, (0, 1, 2), {"rank-0": "1", "rank-1": "2"}),
        (Kind.RANK, (0, 1, 2), {"rank-0": "1", "rank-1": "2", "rank-2": "last"}),
        (Kind.THUMBS, (0,), {"choice": "1"}),
        (Kind.RATING, (0,), {"choice": "6"}),
        (Kind.RATING, (0,), {"choice": "-1"}),
        (Kind.DEMONSTRATION, (), {"text": " \n"}),
    ],
)
def test_what_is_not_said_is_no_verdict(kind: Kind, order: tuple[int, ...], fields: dict[str, str]) -> None:
    with pytest.raises(WrongVerdict):
        verdict_of(asked(kind, order), fields)


def test_a_draft_is_what_this_form_has_and_no_more() -> None:
    task = asked(Kind.RANK, (0, 1)).task
    draft = {"rank-0": "2", "rank-7": "1", "comment": "x" * 300_000, "onload": "evil", "text": 5}
    assert read_draft(task, draft) == {"rank-0": "2", "comment": "x" * 200_000}


def test_code_stands_apart_from_prose_and_nothing_of_either_is_lost() -> None:
    task = Task("k", Kind.RATING, "p", (Answer("Look:\n\n```python\nif a < b:\n    pass\n```\nDone.\n```\nopen"),))
    [answer] = shown(Asked(1, task, (0,))).answers
    assert [(part.text, part.code) for part in answer.parts] == [
        ("Look:", False),
        ("if a < b:\n    pass\n", True),
        ("Done.", False),
        ("open", True),
    ]


def test_what_nobody_can_see_is_counted_and_what_would_mislead_is_shown() -> None:
    task = Task("k", Kind.RATING, "p", (Answer("a\u200bb\u2060 \u202eevil \x1b[31m क्\u200dष"),))
    [answer] = shown(Asked(1, task, (0,))).answers
    assert answer.unseen == 2
    assert answer.parts[0].text == "a\u200bb\u2060 \ufffdevil ␛[31m क्\u200dष"
