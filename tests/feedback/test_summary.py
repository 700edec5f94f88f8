"""What whoever runs the work sees is what was said, of a store in which known people said known things."""

import random

import pytest

from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.feedback.summary import Summary, summarise
from plaudit.feedback.summary_report import as_text
from plaudit.feedback.tasks import Answer, Kind, Ranks, Rating, Task, Thumb, Verdict

NOW = 1_000_000.0
BETTER, WORSE = Answer("a good one", "model-b"), Answer("a poor one", "model-a")


class Clock:
    """That the test sets."""

    def __init__(self) -> None:
        self.now = NOW - 90_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Store:
    return Store(open_database(url), clock=clock, seed=0)


def work(store: Store, name: str, verdict, seconds: float, most: int = 1000, flagged: bool = False) -> None:
    """Judges what the store asks, until it asks nothing more."""
    person = store.sign_in(store.add_person(name))
    assert person is not None
    for _ in range(most):
        if (asked := store.next(person)) is None:
            return
        said = verdict(asked)
        if said is None:
            store.skip(person, asked.assignment)
        else:
            store.judge(person, asked.assignment, "x", said, seconds=seconds, flagged=flagged)


def right(asked) -> Verdict:
    return Ranks((1, 2) if asked.task.answers[0] == BETTER else (2, 1))


def by_place(asked) -> Verdict:
    return Ranks((1, 2) if asked.shown[0] == 0 else (2, 1))


def compared(count: int, wanted: int = 4) -> list[Task]:
    draw = random.Random(1)
    return [Task(f"c{at}", Kind.COMPARE, "p", tuple(draw.sample([BETTER, WORSE], 2)), wanted) for at in range(count)]


@pytest.fixture
def summary(store: Store, clock: Clock) -> Summary:
    store.add_tasks(compared(20))
    store.add_tasks([Task(f"k{at}", Kind.COMPARE, "p", (BETTER, WORSE), gold=Ranks((1, 2))) for at in range(6)])
    work(store, "Ada", right, 10)
    work(store, "Bob", right, 20)
    clock.now = NOW - 10_000
    work(store, "Cem", right, 30, most=12)
    clock.now = NOW - 100
    work(store, "Pia", by_place, 2)
    work(store, "Dot", lambda _: None, 1, most=3)
    store.record(compared(20)[0], "Eve", Ranks((1, 2)))
    return summarise(store, now=NOW)


def test_progress_is_that_of_the_tasks(summary: Summary, store: Store) -> None:
    judged = {person.name: person.judged for person in summary.people}
    assert judged == {"Ada": 26, "Bob": 26, "Cem": 12, "Dot": 0, "Eve": 1, "Pia": 26}
    progress = summary.progress
    known = sum(one.task.gold is not None for one in store.judged())
    assert (progress.tasks, progress.known, progress.wanted) == (20, 6, 80)
    assert progress.given == sum(judged.values()) - known
    assert progress.left == sum(4 - min(4, given) for given in by_task(store).values())
    assert (progress.skipped, progress.flagged) == (3, 0)


def by_task(store: Store) -> dict[str, int]:
    given = {f"c{at}": 0 for at in range(20)}
    for one in store.judged():
        if one.task.gold is None:
            given[one.task.key] += 1
    return given


def test_pace_is_of_the_last_hour_and_leaves_out_what_was_said_elsewhere(summary: Summary) -> None:
    pace = summary.pace
    assert pace.last_hour == 26
    assert pace.last_day == pytest.approx((26 + 12) / 24)
    assert pace.hours_left == pytest.approx(summary.progress.left / 26)
    assert pace.seconds == {Kind.COMPARE: 10.0}


def test_who_goes_by_the_place_on_the_screen_stands_out(summary: Summary) -> None:
    people = {person.name: person for person in summary.people}
    assert {name: one.off for name, one in people.items() if one.off} == {"Pia": ("earlier",)}
    assert people["Pia"].reliability < 0.75 < 0.9 < people["Ada"].reliability
    assert people["Pia"].others.value < 0.8 < people["Ada"].others.value
    assert people["Ada"].known.value == 1.0
    assert people["Ada"].seconds == 10
    assert (people["Dot"].skipped, people["Dot"].seconds, people["Dot"].known) == (3, None, None)
    assert 0.3 < summary.agreement[Kind.COMPARE].alpha.value < 0.95


def test_the_leaderboard_has_the_better_model_first(summary: Summary) -> None:
    assert [one.source for one in summary.leaderboard] == ["model-b", "model-a"]
    assert summary.leaderboard[0].won.value > 0.8
    assert summary.leaderboard[0].pairs == summary.progress.given


def test_as_text_every_row_is_as_wide_as_its_table(summary: Summary) -> None:
    text = as_text(summary)
    assert "20 tasks" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    assert all(len({len(line) for line in table}) == 1 for table in tables)
    [pia] = [line for line in text.splitlines() if line.startswith("| Pia")]
    assert pia.rstrip(" |").endswith("*")
    assert text.count(" *") == 2, "and in what explains it"


def test_of_nothing_it_says_so(store: Store, clock: Clock) -> None:
    found = summarise(store, now=NOW)
    assert (found.progress.wanted, found.progress.left, found.pace.hours_left) == (0, 0, None)
    assert (found.people, found.leaderboard, found.agreement, found.notes) == ((), (), {}, ())
    assert as_text(found).startswith("# Judgements\n\n0 judgements of 0 wanted")


def test_what_cannot_be_known_is_said(store: Store, clock: Clock) -> None:
    store.add_tasks([Task(f"{at}", Kind.RATING, "p", (Answer("a"),)) for at in range(4)])
    work(store, "Ada | \x1b[31m", lambda _: Rating(3), 5)
    found = summarise(store, now=NOW)
    assert any("whom to believe cannot be said" in note for note in found.notes)
    assert any("whose answer is known" in note for note in found.notes)
    text = as_text(found)
    assert "\x1b" not in text
    assert "Ada \\| ␛[31m" in text


def test_what_is_taken_back_does_not_count(store: Store, clock: Clock) -> None:
    store.add_tasks([Task("t", Kind.THUMBS, "p", (Answer("a"),))])
    person = store.sign_in(store.add_person("Ada"))
    assert person is not None
    asked = store.next(person)
    assert asked is not None
    store.judge(person, asked.assignment, "x", Thumb(True), seconds=3, flagged=True)
    assert (store.progress().given, store.progress().left, store.progress().flagged) == (1, 0, 1)
    store.undo(person, None)
    assert (store.progress().given, store.progress().left, store.progress().flagged) == (0, 1, 0)
    [ada] = store.people()
    assert (ada.judged, ada.flagged) == (0, 0)
