"""Who waits for a judgement hears of it, and people are asked for no one else."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from plaudit.feedback.awaited import Awaited, Heard
from plaudit.feedback.database import Database
from plaudit.feedback.records import Person
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Rating, Task


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, seed=0)


@pytest.fixture
def awaited(database: Database) -> Awaited:
    return Awaited(database)


def person(store: Store, name: str) -> Person:
    found = store.sign_in(store.add_person(name))
    assert found is not None
    return found


def ratings(count: int) -> dict[str, Task]:
    tasks = [Task(f"{i:04}", Kind.RATING, f"prompt {i}", (Answer(f"answer {i}"),), wanted=2) for i in range(count)]
    return {task.key: task for task in tasks}


def test_what_is_awaited_is_asked_and_what_was_said_is_heard(store: Store, awaited: Awaited) -> None:
    tasks = ratings(3)
    assert awaited.look(tasks) == {}
    ada, bob = person(store, "Ada"), person(store, "Bob")
    assert awaited.look(tasks) == dict.fromkeys(tasks, Heard(people=2))
    asked = store.next(ada)
    store.skip(ada, asked.assignment)
    for stars in (4, 5):
        who = (ada, bob)[stars - 4]
        asked = store.next(who)
        store.judge(who, asked.assignment, f"{stars}", Rating(stars))
    heard = awaited.heard([*tasks, "none"])
    assert heard.keys() == tasks.keys()
    assert sum(one.skipped for one in heard.values()) == 1
    said = {key: tuple(j.verdict.stars for j in one.judgements) for key, one in heard.items()}
    assert sorted(said.values()) == [(), (), (4, 5)], "what one has begun the other is asked first"
    assert sorted(one.unheard for one in heard.values()) == [0, 1, 2]
    store.undo(ada, None)
    assert sum(len(one.judgements) for one in awaited.heard(tasks).values()) == 1


def test_more_than_a_query_has_room_for(store: Store, awaited: Awaited) -> None:
    tasks = ratings(2100)
    awaited.look(tasks)
    assert len(awaited.heard(tasks)) == 2100
    awaited.withdraw(tasks)
    assert awaited.heard(tasks) == {}


def test_what_nobody_has_seen_is_taken_back_and_what_somebody_is_at_stays(store: Store, awaited: Awaited) -> None:
    tasks = ratings(3)
    awaited.look(tasks)
    ada = person(store, "Ada")
    asked = store.next(ada)
    awaited.withdraw(tasks)
    assert awaited.heard(tasks).keys() == {asked.task.key}
    store.judge(ada, asked.assignment, "s", Rating(5))
    awaited.withdraw(tasks)
    assert [said.verdict for said in awaited.heard(tasks)[asked.task.key].judgements] == [Rating(5)]
    assert store.next(ada) is None
    awaited.look(tasks)
    assert store.next(ada) is not None, "asked again, it is there again"


def test_who_is_asked_while_it_is_taken_back_loses_nothing(database: Database, store: Store) -> None:
    """People and those who give up in each other's way: a task is with somebody, or gone, never in between."""
    tasks, enough = ratings(20), 10
    everybody = [person(store, f"P{i}") for i in range(4)]
    over, said, until = threading.Event(), list[str](), time.monotonic() + 60

    def wait_and_give_up(_: int) -> None:
        mine, times = Awaited(database), 0
        while min(times, len(said)) < enough and time.monotonic() < until:
            mine.look(tasks)
            time.sleep(0.01)  # a moment to ask in
            mine.withdraw(tasks)
            times += 1

    def judge(who: Person) -> None:
        mine = Store(database)
        while not over.wait(0.005):
            if (asked := mine.next(who)) is not None:
                mine.judge(who, asked.assignment, "s", Rating(3))
                said.append(asked.task.key)

    with ThreadPoolExecutor(6) as pool:
        judging = [pool.submit(judge, who) for who in everybody]
        list(pool.map(wait_and_give_up, range(2)))
        over.set()
        for one in judging:
            one.result()
    assert len(said) >= enough
    assert sorted(said) == sorted(one.task.key for one in store.judged())
