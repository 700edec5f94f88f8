"""Several at once, and processes that are killed: nobody is in another's way, nothing is lost."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from sqlalchemy import select

from plaudit.feedback import mapping
from plaudit.feedback import store as store_module
from plaudit.feedback.database import Database
from plaudit.feedback.records import Person
from plaudit.feedback.schema import TaskRow
from plaudit.feedback.store import LEASE_S, Store
from plaudit.feedback.tasks import Rating, Task

from .stores import Clock, ask, person, rate, ratings


def test_what_is_read_is_of_one_moment(store: Store, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody judges for the first time after the tasks were read and before the judgements are."""
    store.add_tasks(ratings(2))
    ada, bob = person(store, "Ada"), person(store, "Bob")
    rate(store, ada)
    asked, read = ask(store, bob), mapping.task_of

    def meanwhile(row: TaskRow) -> Task:
        monkeypatch.setattr(store_module, "task_of", read)
        Store(database).judge(bob, asked.assignment, "meanwhile", Rating(1))
        return read(row)

    monkeypatch.setattr(store_module, "task_of", meanwhile)
    assert [said.person for said in store.judged()] == ["Ada"]
    assert [said.person for said in store.judged()] == ["Ada", "Bob"]


def at_once(work: Callable[[], object], times: int, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """As many threads, each held at `step` until the others are there too, if they ever are."""
    barrier, do = Barrier(times), getattr(store_module, step)

    def held(*arguments: object, **keywords: object) -> object:
        with suppress(BrokenBarrierError):
            barrier.wait(0.5)
        return do(*arguments, **keywords)

    monkeypatch.setattr(store_module, step, held)
    with ThreadPoolExecutor(times) as pool:
        for done in [pool.submit(work) for _ in range(times)]:
            done.result(timeout=30)
    monkeypatch.setattr(store_module, step, do)


def held_places(database: Database) -> list[int]:
    with database.reading() as session:
        return list(session.scalars(select(TaskRow.held).order_by(TaskRow.key)))


def test_a_place_is_given_back_once_however_often_it_is_asked_for(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_tasks(ratings(1))
    ada = person(store, "Ada")
    asked = ask(store, ada)
    at_once(lambda: store.skip(ada, asked.assignment), 2, monkeypatch, "give_back")
    assert held_places(database) == [0]
    at_once(lambda: store.undo(ada, None), 2, monkeypatch, "take")
    assert held_places(database) == [1]


def test_who_judges_while_the_time_runs_out_keeps_the_place(
    store: Store, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_tasks(ratings(1))
    ada = person(store, "Ada")
    asked = ask(store, ada)
    clock.now += LEASE_S
    do: list[Callable[[], object]] = [
        lambda: store.judge(ada, asked.assignment, "s", Rating(5)),
        lambda: store.next(person(store, "Bob")),
    ]
    monkeypatch.setattr(store_module, "judgement_row", slow(store_module.judgement_row))
    monkeypatch.setattr(store_module, "give_back", slow(store_module.give_back))
    with ThreadPoolExecutor(2) as pool:
        _, asked_of_bob = [one.result(timeout=30) for one in [pool.submit(one) for one in do]]
    assert held_places(database) == [1 + (asked_of_bob is not None)]
    assert [said.verdict for said in store.judged()] == [Rating(5)]


def slow(do: Callable[..., Any]) -> Callable[..., Any]:
    def slowly(*arguments: Any, **keywords: Any) -> Any:
        time.sleep(0.3)
        return do(*arguments, **keywords)

    return slowly


def test_many_people_at_once_hold_each_place_once(store: Store, database: Database) -> None:
    tasks, people = 12, 16
    store.add_tasks(ratings(tasks, wanted=3))
    everybody = [person(store, f"P{i}") for i in range(people)]
    begin = threading.Barrier(people)

    def work(who: Person) -> int:
        mine, done = Store(database), 0  # with a clock that goes
        begin.wait()
        while mine.next(who) is not None:
            rate(mine, who)
            done += 1
        return done

    with ThreadPoolExecutor(people) as pool:
        assert sum(pool.map(work, everybody)) == 3 * tasks
    said = list(store.judged())
    assert Counter(one.task.key for one in said) == {task.key: 3 for task in ratings(tasks)}
    assert len({(one.person, one.task.key) for one in said}) == len(said)


WORKER = """
import json, sys, time
from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Rating

store = Store(open_database(sys.argv[1]))
who = store.sign_in(sys.argv[2])
while (asked := store.next(who)) is not None:
    store.judge(who, asked.assignment, f"{who.name}/{asked.task.key}", Rating(3))
    print(json.dumps(asked.task.key), flush=True)
    time.sleep(float(sys.argv[3]))
"""


def test_what_was_acknowledged_outlives_a_process_that_is_killed(store: Store, url: str) -> None:
    store.add_tasks(ratings(300))
    tokens = [store.add_person(f"P{i}") for i in range(3)]
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, url, token, "0.05"], stdout=subprocess.PIPE, text=True)
        for token in tokens
    ]
    acknowledged = [json.loads(worker.stdout.readline()) for worker in workers]
    time.sleep(0.5)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        acknowledged += [json.loads(line) for line in worker.communicate()[0].splitlines()]
    said = Counter(one.task.key for one in store.judged())
    assert set(acknowledged) <= said.keys()
    assert set(said.values()) == {1}
    again = subprocess.run(
        [sys.executable, "-c", WORKER, url, tokens[0], "0"], capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 0, again.stderr
    assert len(list(store.judged())) >= 300 - len(tokens) + 1, "all but what two others were at"
