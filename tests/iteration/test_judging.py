"""A round waits for people, and what they said goes out once: to learn from, or to measure with."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plaudit.errors import RunFailed
from plaudit.feedback.database import open_database
from plaudit.feedback.records import Judgement
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Ranks, Task
from plaudit.iteration import judging
from plaudit.iteration.judging import held_out_keys, judge
from plaudit.iteration.plan import Plan
from plaudit.telemetry.progress import Bar

from .runs import plan, rows


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "LOOK_SECONDS", 0.05)


def round_of(tmp_path: Path, count: int = 20, **label: Any) -> Plan:
    """Its tasks are drawn; people judge."""
    found = plan(tmp_path, label={"held_out": 0.2, **label})
    drawn = ({"id": str(i), "prompt": f"the cat {i}", "responses": ["a", "b"], "priority": i} for i in range(count))
    rows(found.round(1) / "tasks.jsonl", *drawn)
    return found


def work(found: Plan, name: str, most: int, flag: str = "") -> Iterator[str]:
    """A person who judges as long as there is something to judge, or `most` tasks; yields their keys."""
    database = open_database(found.database)
    store = Store(database, seed=0)
    person = store.sign_in(store.add_person(name))
    assert person is not None
    done, until = 0, time.monotonic() + 30
    while done < most and time.monotonic() < until:
        asked = store.next(person)
        if asked is None:
            time.sleep(0.02)
            continue
        store.judge(person, asked.assignment, "sent", Ranks((1, 2)), flagged=asked.task.key == flag)
        done += 1
        yield asked.task.key
    database.close()


def told(found: Plan, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (found.round(1) / name).read_text().splitlines()]


@pytest.mark.usefixtures("people")
def test_a_round_waits_until_people_have_judged_all_of_it(tmp_path: Path) -> None:
    found = round_of(tmp_path, wanted=2)
    waiting = threading.Thread(target=judge, args=(found, 1), daemon=True)
    waiting.start()
    first = list(work(found, "Ada", 20, flag="run/round-1/3"))
    assert first[0] == "run/round-1/19"  # the highest priority
    waiting.join(0.5)
    assert waiting.is_alive()  # every task wants two
    list(work(found, "Grace", 20))
    waiting.join(20)
    assert not waiting.is_alive()
    learnt, held_out = told(found, "judged.jsonl"), told(found, "held_out.jsonl")
    assert {row["prompt"] for row in learnt}.isdisjoint(row["prompt"] for row in held_out)
    assert len(learnt) + len(held_out) == 39  # but the flagged one
    summary = json.loads((found.round(1) / "judged.json").read_text())
    assert (summary["tasks"], summary["judgements"], summary["people"], summary["flagged"]) == (20, 40, 2, 1)
    assert summary["model"] is None
    assert "Ada" not in json.dumps(summary)


@pytest.mark.usefixtures("people")
def test_a_round_goes_on_with_enough_of_it_and_a_stopped_one_finds_what_was_said(tmp_path: Path) -> None:
    found = round_of(tmp_path, enough=0.5)
    database = open_database(found.database)
    Store(database).add_tasks(judging.round_tasks(found, 1))
    database.close()
    assert len(list(work(found, "Ada", 10))) == 10
    judge(found, 1)
    assert len(told(found, "judged.jsonl")) + len(told(found, "held_out.jsonl")) == 10


@pytest.mark.usefixtures("people")
def test_a_round_does_not_wait_for_what_everybody_passed_on(tmp_path: Path) -> None:
    found = round_of(tmp_path, wanted=2)
    database = open_database(found.database)
    store = Store(database)
    store.add_tasks(judging.round_tasks(found, 1))
    staff = [store.sign_in(store.add_person(name)) for name in ("Ada", "Grace")]
    for person in staff:
        assert person is not None
        while (asked := store.next(person)) is not None:
            if asked.task.key == "run/round-1/3":
                store.skip(person, asked.assignment)
            else:
                store.judge(person, asked.assignment, "sent", Ranks((1, 2)))
    waiting = threading.Thread(target=judge, args=(found, 1), daemon=True)
    waiting.start()
    waiting.join(20)
    assert not waiting.is_alive()
    database.close()
    summary = json.loads((found.round(1) / "judged.json").read_text())
    assert (summary["tasks"], summary["judgements"]) == (20, 38)


@pytest.mark.usefixtures("people")
def test_who_waits_for_people_that_are_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks want two, and there is one: whoever is invited later is waited for."""
    notes: list[str] = []
    monkeypatch.setattr(Bar, "note", lambda _, text: notes.append(text))
    found = round_of(tmp_path, wanted=2)
    waiting = threading.Thread(target=judge, args=(found, 1), daemon=True)
    waiting.start()
    assert len(list(work(found, "Ada", 20))) == 20
    until = time.monotonic() + 10
    while "; for 20 nobody is left to ask" not in notes[-1]:
        assert time.monotonic() < until, notes[-1]
        time.sleep(0.05)
    assert waiting.is_alive()
    assert len(list(work(found, "Grace", 20))) == 20
    waiting.join(20)
    assert not waiting.is_alive()


@pytest.mark.usefixtures("people")
def test_judgements_that_say_nothing_end_the_round_by_name(tmp_path: Path) -> None:
    found = round_of(tmp_path, count=1)
    waiting = threading.Thread(target=lambda: list(work(found, "Ada", 1)), daemon=True)
    waiting.start()
    with pytest.raises(RunFailed, match="round-1: 1 judgements leave nothing to learn from"):
        judge(found, 1)


def test_a_part_of_the_tasks_is_judged_by_several(tmp_path: Path) -> None:
    wanted = [task.wanted for task in judging.round_tasks(round_of(tmp_path, count=400, wanted=3, shared=0.25), 1)]
    assert set(wanted) == {1, 3}
    assert abs(wanted.count(3) - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5
    assert {task.wanted for task in judging.round_tasks(round_of(tmp_path, wanted=3), 1)} == {3}


def said(prompt: str, key: str) -> Judgement:
    task = Task(key, Kind.COMPARE, prompt, (Answer("a"), Answer("b")))
    return Judgement(task, "Ada", Ranks((1, 2)), (0, 1), "", False, 1.0, 0.0)


def test_a_prompt_that_is_held_out_is_in_every_round() -> None:
    first = [said(f"prompt {i}", f"1/{i}") for i in range(200)]
    second = [said(f"prompt {i}", f"2/{i}") for i in range(100, 300)]
    ours, theirs = (held_out_keys(some, 0.1, seed=0) for some in (first, second))
    both = range(100, 200)
    assert {i for i in both if f"1/{i}" in ours} == {i for i in both if f"2/{i}" in theirs}
    assert 8 <= len(ours) <= 35  # a tenth, give or take four standard errors
    assert ours != {key.replace("2/", "1/") for key in held_out_keys(second, 0.1, seed=1)}


def test_of_few_prompts_one_is_held_out_with_all_its_tasks() -> None:
    few = [said("one", "1"), said("one", "2"), said("two", "3")]
    assert held_out_keys(few, 1e-9, seed=0) in ({"1", "2"}, {"3"})
    assert held_out_keys(few, 0.0, seed=0) == set()
