"""What is still to come of tasks: not what everybody passed on, and what nobody is left to say is counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.feedback.database import open_database
from plaudit.feedback.records import Person
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Rating, Task

KEYS = ["0", "1", "2"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = open_database(f"sqlite:///{tmp_path}/judgements.db")
    store = Store(database)
    store.add_tasks(Task(key, Kind.RATING, f"question {key}", (Answer("an answer"),), 2) for key in KEYS)
    yield store
    database.close()


def person(store: Store, name: str) -> Person:
    found = store.sign_in(store.add_person(name))
    assert found is not None
    return found


def work(store: Store, who: Person, passed_on: str) -> None:
    """Rates all but one."""
    while (asked := store.next(who)) is not None:
        if asked.task.key == passed_on:
            store.skip(who, asked.assignment)
        else:
            store.judge(who, asked.assignment, "sent", Rating(4))


def test_before_anybody_is_there_everything_is_missing(store: Store) -> None:
    assert store.missing(KEYS) == 6
    assert store.nobody_left(KEYS) == 3


def test_what_everybody_passed_on_is_not_waited_for(store: Store) -> None:
    ada, grace = person(store, "Ada"), person(store, "Grace")
    work(store, ada, passed_on="1")
    assert (store.missing(KEYS), store.nobody_left(KEYS)) == (4, 0)  # Grace may say something yet
    work(store, grace, passed_on="1")
    assert (store.missing(KEYS), store.nobody_left(KEYS)) == (0, 1)
    person(store, "Alan")
    assert (store.missing(KEYS), store.nobody_left(KEYS)) == (2, 0)


def test_what_one_passed_on_and_another_judged_is_not_waited_for_either(store: Store) -> None:
    ada, grace = person(store, "Ada"), person(store, "Grace")
    work(store, ada, passed_on="1")
    work(store, grace, passed_on="none")
    assert (store.missing(KEYS), store.nobody_left(KEYS)) == (0, 1)


def test_people_who_are_wanted_and_not_there_are_waited_for(store: Store) -> None:
    work(store, person(store, "Ada"), passed_on="none")
    assert (store.missing(KEYS), store.nobody_left(KEYS)) == (3, 3)
