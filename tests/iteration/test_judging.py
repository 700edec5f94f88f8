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
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Ranks
from plaudit.iteration import judging
from plaudit.iteration.judging import Before, held_out_prompts, judge
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


def test_a_prompt_that_is_held_out_is_in_every_round() -> None:
    first, second = ([f"prompt {i}" for i in some] for some in (range(200), range(100, 300)))
    ours, theirs = (held_out_prompts(some, 0.1, 0, Before()) for some in (first, second))
    assert {one for one in ours if one in second} == {one for one in theirs if one in first}
    assert 8 <= len(ours) <= 35  # a tenth, give or take four standard errors
    assert ours != held_out_prompts(first, 0.1, 1, Before())


def test_of_few_prompts_one_is_held_out() -> None:
    assert held_out_prompts(["one", "two", "one"], 1e-9, 0, Before()) in ({"one"}, {"two"})


def test_of_few_prompts_none_is_held_out_that_was_learnt_from_before() -> None:
    learnt = Before(learnt=frozenset({"one", "two"}))
    assert held_out_prompts(["one", "two", "three"], 1e-9, 0, learnt) == {"three"}
    assert held_out_prompts(["one", "two"], 1e-9, 0, learnt) == set()


def judged_at_once(found: Plan, number: int, prompts: list[Any]) -> tuple[set[str], set[str]]:
    """A round that Ada has judged already: what it learnt from, and what it held out."""
    drawn = ({"id": str(i), "prompt": prompt, "responses": ["a", "b"]} for i, prompt in enumerate(prompts))
    rows(found.round(number) / "tasks.jsonl", *drawn)
    database = open_database(found.database)
    for task in judging.round_tasks(found, number):
        Store(database).record(task, "Ada", Ranks((1, 2)))
    database.close()
    judge(found, number)
    learnt, held_out = (
        [json.loads(line)["prompt"] for line in (found.round(number) / name).read_text().splitlines()]
        for name in ("judged.jsonl", "held_out.jsonl")
    )
    return set(map(str, learnt)), set(map(str, held_out))


@pytest.mark.parametrize("chat", [False, True])
def test_what_few_prompts_held_out_is_learnt_from_in_no_later_round(tmp_path: Path, chat: bool) -> None:
    """The first round has no prompt that draws 0.1 or less, the second has one, beside that which the first held out;
    the third has nothing but what the first learnt from."""
    many = [[{"role": "user", "content": f"prompt {i}"}] if chat else f"prompt {i}" for i in range(100)]
    drawn = {str(one): judging._draw([list(turn.values()) for turn in one] if chat else one, 0) for one in many}
    high, low = ([one for one in many if (drawn[str(one)] <= 0.1) is is_low] for is_low in (False, True))
    found = plan(tmp_path, rounds=3, label={"held_out": 0.1})
    first = judged_at_once(found, 1, high[:5])
    second = judged_at_once(found, 2, [*high[:5], low[0], *high[5:8]])
    third = judged_at_once(found, 3, [one for one in high[:5] if str(one) in first[0]])
    assert len(first[1]) == 1
    assert second[1] == first[1] | {str(low[0])}
    assert third == (first[0], set())
