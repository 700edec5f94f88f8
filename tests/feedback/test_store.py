"""Nothing that people say is lost, none of it counts twice, and nobody is in another's way."""

import statistics
import time
from dataclasses import replace

import pytest
from sqlalchemy import text

from plaudit.errors import ConfigurationError
from plaudit.feedback.database import Database
from plaudit.feedback.fields import fields_of
from plaudit.feedback.records import AlreadyJudged, NotYours, Person
from plaudit.feedback.schema import Role
from plaudit.feedback.store import LEASE_S, Store
from plaudit.feedback.tasks import Answer, Kind, Ranks, Rating, Task, Thumb, WrongVerdict
from plaudit.trajectory import Message

from .stores import Clock, ask, person, rate, ratings


def test_people_sign_in_with_a_token_that_is_nowhere(store: Store, database: Database) -> None:
    token = store.add_person("Ada", Role.ADMIN)
    ada = store.sign_in(token)
    assert ada is not None
    assert (ada.name, ada.role) == ("Ada", Role.ADMIN)
    assert store.sign_in("another") is None
    again = store.add_person("Ada")
    assert store.sign_in(token) is None, "the link was told anew"
    assert store.sign_in(again) == Person(ada.id, "Ada", Role.ADMIN)
    with database.reading() as session:
        [kept] = session.execute(text("SELECT * FROM annotators")).all()
    assert kept.name == "Ada"
    assert again not in str(kept)


def test_a_task_is_what_it_was_and_once(store: Store) -> None:
    conversation = (Message("user", "مرحبا"), Message("assistant", "你好 <b>&"), Message("user", "so?"))
    task = Task(
        "k/1", Kind.RANK, conversation, (Answer("a", "m1"), Answer("b\n", "m2"), Answer("c")), gold=Ranks((1, 2, 2))
    )
    assert store.add_tasks([task, *ratings(2)]) == 3
    assert store.add_tasks([task, *ratings(3)]) == 1
    seen = []
    ada = person(store, "Ada")
    while (asked := store.next(ada)) is not None:
        seen.append(asked.task)
        store.skip(ada, asked.assignment)
    assert task in seen
    assert len(seen) == 4


def test_what_is_missing_is_counted_by_task(store: Store) -> None:
    """What is taken back is missing again; more than was wanted of one task makes up for nothing of another."""
    store.add_tasks(ratings(3, wanted=2))
    keys, ada = [f"{i:03}" for i in range(3)], person(store, "Ada")
    assert store.missing(keys) == 6
    assert store.missing([*keys, "unknown"]) == 6
    first = rate(store, ada)
    rate(store, ada)
    assert store.missing(keys) == 4
    assert store.missing([first.task.key]) == 1
    store.undo(ada, None)
    assert store.missing(keys) == 5
    for name in ("Grace", "Alan", "Edsger"):
        store.record(first.task, name, Rating(1))
    assert store.missing([first.task.key]) == 0
    assert store.missing(keys) == 4


def test_more_tasks_than_a_query_has_room_for_are_added(store: Store) -> None:
    assert store.add_tasks(ratings(2500)) == 2500
    assert store.add_tasks(ratings(2600)) == 100


def test_the_next_task_is_found_at_once_among_any_number(store: Store) -> None:
    seconds = []
    for count, who in ((200, "Ada"), (20_000, "Bob")):
        store.add_tasks(ratings(count, wanted=3))
        somebody = person(store, who)
        spent = []
        for _ in range(20):
            began = time.perf_counter()
            asked = ask(store, somebody)
            spent.append(time.perf_counter() - began)
            store.skip(somebody, asked.assignment)
        seconds.append(statistics.median(spent))
    assert seconds[1] < 5 * seconds[0], "a hundred times as many"


def test_who_comes_back_is_at_the_same_task_with_what_was_typed(store: Store) -> None:
    store.add_tasks(Task(str(i), Kind.RANK, "p", tuple(map(Answer, "abcdef"))) for i in range(5))
    ada = person(store, "Ada")
    asked = ask(store, ada)
    store.save_draft(ada, asked.assignment, {"comment": "half a thou"})
    again = ask(store, ada)
    assert (again.assignment, again.shown, again.draft) == (asked.assignment, asked.shown, {"comment": "half a thou"})
    assert sorted(asked.shown) == list(range(6))
    store.judge(ada, asked.assignment, "s", Ranks((1, 2, 3, 4, 5, 6)))
    orders = {asked.shown}
    while (asked := store.next(ada)) is not None:
        orders.add(asked.shown)
        store.skip(ada, asked.assignment)
    assert len(orders) > 2, "each task has an order of its own"


def test_what_was_said_of_some_tasks_alone(store: Store) -> None:
    store.add_tasks(ratings(3))
    ada = person(store, "Ada")
    said = {rate(store, ada, stars).task.key: Rating(stars) for stars in (1, 2, 3)}
    nobody = (f"none {at}" for at in range(2500))  # more than a query has room for
    assert {one.task.key: one.verdict for one in store.judged(["000", *nobody, "002"])} == {
        key: verdict for key, verdict in said.items() if key != "001"
    }


def test_sent_twice_it_is_one(store: Store) -> None:
    store.add_tasks(ratings(1))
    ada, bob = person(store, "Ada"), person(store, "Bob")
    asked = ask(store, ada)
    for _ in range(2):
        store.judge(ada, asked.assignment, "the page's", Rating(4), comment="fine", flagged=True, seconds=7.5)
    with pytest.raises(AlreadyJudged):
        store.judge(ada, asked.assignment, "another window's", Rating(1))
    with pytest.raises(AlreadyJudged):
        store.skip(ada, asked.assignment)
    for other in (bob, Person(99, "nobody", Role.ANNOTATOR)):
        with pytest.raises(NotYours):
            store.judge(other, asked.assignment, "x", Rating(1))
    [said] = store.judged()
    assert (said.person, said.verdict, said.comment, said.flagged, said.seconds) == (
        "Ada",
        Rating(4),
        "fine",
        True,
        7.5,
    )


def test_two_pages_may_name_what_they_send_alike(store: Store) -> None:
    store.add_tasks(ratings(2))
    ada, bob = person(store, "Ada"), person(store, "Bob")
    for who in (ada, bob):
        rate(store, who, submission="1")
    assert {said.person for said in store.judged()} == {"Ada", "Bob"}


def test_what_does_not_fit_is_refused_and_nothing_has_happened(store: Store) -> None:
    store.add_tasks(ratings(1))
    ada = person(store, "Ada")
    asked = ask(store, ada)
    with pytest.raises(WrongVerdict):
        store.judge(ada, asked.assignment, "s", Ranks((1, 2)))
    assert ask(store, ada).assignment == asked.assignment
    assert list(store.judged()) == []


def test_when_the_time_is_over_somebody_else_is_asked_and_both_count(store: Store, clock: Clock) -> None:
    store.add_tasks(ratings(1))
    ada, bob = person(store, "Ada"), person(store, "Bob")
    late = ask(store, ada)
    assert store.next(bob) is None, "its only place is held"
    clock.now += LEASE_S
    rate(store, bob, 2)
    store.save_draft(ada, late.assignment, "still at it")
    store.judge(ada, late.assignment, "late", Rating(5))
    assert {said.person: said.verdict for said in store.judged()} == {"Ada": Rating(5), "Bob": Rating(2)}
    assert store.next(person(store, "Cem")) is None


def test_who_had_a_task_too_long_is_asked_again_where_nobody_else_is_left(store: Store, clock: Clock) -> None:
    store.add_tasks(ratings(1))
    ada, bob = person(store, "Ada"), person(store, "Bob")
    late = ask(store, ada)
    store.save_draft(ada, late.assignment, "half of it")
    clock.now += LEASE_S
    store.skip(bob, ask(store, bob).assignment)
    again = ask(store, ada)
    assert (again.assignment, again.draft) == (late.assignment, "half of it")


def test_what_is_skipped_goes_to_somebody_else(store: Store) -> None:
    store.add_tasks(ratings(1))
    ada, bob = person(store, "Ada"), person(store, "Bob")
    store.skip(ada, ask(store, ada).assignment)
    assert store.next(ada) is None
    assert ask(store, bob).task.key == "000"


def test_the_last_thing_said_can_be_taken_back(store: Store) -> None:
    store.add_tasks(ratings(3))
    ada = person(store, "Ada")
    first, second = rate(store, ada, 1), rate(store, ada, 2)
    third = ask(store, ada)
    back = store.undo(ada, third.assignment)
    assert back is not None
    assert (back.assignment, back.before) == (second.assignment, Rating(2))
    assert [said.task.key for said in store.judged()] == [first.task.key]
    store.judge(ada, back.assignment, "better", Rating(5))
    assert [said.verdict for said in store.judged()] == [Rating(1), Rating(5)]
    assert ask(store, ada).assignment == third.assignment
    store.skip(ada, third.assignment)
    skipped = store.undo(ada, None)
    assert skipped is not None
    assert skipped.before is None
    assert store.undo(person(store, "Bob"), None) is None


def test_taking_back_that_is_sent_twice_takes_one_thing_back(store: Store) -> None:
    store.add_tasks(ratings(3))
    ada = person(store, "Ada")
    rate(store, ada, 1)
    second, third = rate(store, ada, 2), ask(store, ada)
    once, again = (store.undo(ada, third.assignment) for _ in range(2))
    assert once == again
    assert once is not None
    assert (once.assignment, once.before) == (second.assignment, Rating(2))
    assert ask(store, ada).assignment == second.assignment
    assert [said.verdict for said in store.judged()] == [Rating(1)]


@pytest.mark.parametrize("how", ["judged", "skipped"])
def test_what_was_said_beside_it_comes_back_too(store: Store, how: str) -> None:
    store.add_tasks(ratings(1))
    ada = person(store, "Ada")
    asked, beside = ask(store, ada), {"comment": "odd", "flagged": True}
    if how == "judged":
        store.judge(ada, asked.assignment, "1", Rating(2), **beside)
    else:
        store.skip(ada, asked.assignment, **beside)
    back = store.undo(ada, None)
    assert back is not None
    fields = fields_of(back)
    assert (fields["comment"], fields["flagged"]) == ("odd", "on")
    assert fields.get("choice") == ("2" if how == "judged" else None)
    assert fields_of(ask(store, ada)) == fields


def test_what_people_say_beside_judging_is_told(store: Store) -> None:
    store.add_tasks(ratings(3, wanted=2))
    ada, bob = person(store, "Ada"), person(store, "Bob")
    store.skip(ada, ask(store, ada).assignment, comment="not my language")
    store.judge(ada, ask(store, ada).assignment, "1", Rating(1), comment="cut off", flagged=True)
    store.skip(bob, ask(store, bob).assignment, flagged=True)
    rate(store, bob)
    found = [(one.person, one.skipped, one.flagged, one.comment) for one in store.remarks()]
    assert found == [("Bob", True, True, ""), ("Ada", False, True, "cut off"), ("Ada", True, False, "not my language")]
    assert (store.progress().skipped, store.progress().flagged) == (2, 2)
    assert [(one.name, one.judged, one.skipped, one.flagged) for one in store.people()] == [
        ("Ada", 1, 1, 1),
        ("Bob", 1, 1, 1),
    ]


def test_who_said_something_elsewhere_may_not_be_asked_until_invited(store: Store) -> None:
    store.record(ratings(1)[0], "Ada", Rating(1))
    assert store.askable() == 0
    store.add_person("Ada")
    store.record(ratings(1)[0], "Bob", Rating(1))
    store.person("Bob")
    assert store.askable() == 2
    assert store.sign_in(store.add_person("Ada", Role.ADMIN)) is not None


OTHERS = {
    "kind": Task("1", Kind.THUMBS, "p", (Answer("a"),)),
    "prompt": Task("1", Kind.RATING, "q", (Answer("a"),)),
    "answers": Task("1", Kind.RATING, "p", (Answer("b"),)),
    "instructions": Task("1", Kind.RATING, "p", (Answer("a"),), instructions="Be brief."),
}


@pytest.mark.parametrize("differing", OTHERS)
def test_another_task_of_the_same_key_is_refused(store: Store, differing: str) -> None:
    """What was said of one would be taken as said of the other."""
    task, other = Task("1", Kind.RATING, "p", (Answer("a"),)), OTHERS[differing]
    store.record(task, "Ada", Rating(5))
    assert store.add_tasks([task, Task("1", Kind.RATING, "p", (Answer("a", "a model"),), wanted=3)]) == 0
    with pytest.raises(ConfigurationError, match=f"task '1' is there already, with other {differing}"):
        store.add_tasks([other])
    with pytest.raises(ConfigurationError, match="task '1' is there already"):
        store.record(other, "Bob", Thumb(True) if other.kind is Kind.THUMBS else Rating(1))
    with pytest.raises(ConfigurationError, match="task '2' is there already"):
        store.add_tasks([replace(task, key="2"), replace(other, key="2")])
    assert [said.task.key for said in store.judged()] == ["1"]


@pytest.mark.parametrize("key", ["", "k" * 501, "a\0b"])
def test_a_key_that_no_database_keeps_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="1 to 500 characters"):
        Task(key, Kind.RATING, "p", (Answer("a"),))


@pytest.mark.parametrize("name", ["", "n" * 201, "a\0b"])
def test_a_name_that_no_database_keeps_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ConfigurationError, match="people have 1 to 200"):
        store.add_person(name)


def test_answers_in_another_order_are_another_task(store: Store) -> None:
    task = Task("1", Kind.COMPARE, "p", (Answer("a"), Answer("b")))
    store.record(task, "Ada", Ranks((1, 2)))
    with pytest.raises(ConfigurationError, match="with other answers"):
        store.record(replace(task, answers=task.answers[::-1]), "Bob", Ranks((2, 1)))


def test_urgent_ones_come_first_and_what_others_have_begun(store: Store) -> None:
    store.add_tasks(ratings(4, wanted=2))
    store.add_tasks([Task("urgent", Kind.RATING, "p", (Answer("a"),), priority=1.0, wanted=2)])
    ada, bob = person(store, "Ada"), person(store, "Bob")
    assert rate(store, ada).task.key == "urgent"
    begun = rate(store, ada).task.key
    assert [rate(store, bob).task.key for _ in range(2)] == ["urgent", begun]


def test_questions_with_a_known_answer_are_mixed_in_for_all(store: Store) -> None:
    store.add_tasks(ratings(150, wanted=1))
    store.add_tasks(Task(f"gold {i}", Kind.RATING, "p", (Answer("a"),), gold=Rating(1)) for i in range(40))
    for name in ("Ada", "Bob"):
        who = person(store, name)
        asked = [rate(store, who).task for _ in range(60)]
        golds = [at for at, task in enumerate(asked) if task.gold is not None]
        assert 1 <= len(golds) <= 16, "one in ten"
        assert len(set(asked)) == 60
