"""A reward server judges like a person: in every form, with its mistakes, once."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.errors import RunFailed
from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Ranks, Rating, Task, Thumb, Verdict
from plaudit.iteration import labelling
from plaudit.iteration.labelling import label, verdict
from plaudit.iteration.settings import LabellerSettings
from plaudit_client import ScoreFailure, ScoreItem, TextPair
from plaudit_client.fake import FakeRewardServer


def task(kind: Kind, *answers: str, key: str = "a task", wanted: int = 1) -> Task:
    return Task(key, kind, "a question", tuple(map(Answer, answers)), wanted)


def length(item: ScoreItem) -> float:
    assert isinstance(item.input, TextPair)
    return float(len(item.input.response))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = open_database(f"sqlite:///{tmp_path}/judgements.db")
    yield Store(database)
    database.close()


@pytest.mark.parametrize(
    ("kind", "scores", "expected"),
    [
        (Kind.COMPARE, [0.5, 1.5], Ranks((2, 1))),
        (Kind.COMPARE, [1.0, 1.0], Ranks((1, 1))),
        (Kind.RANK, [0.0, 3.0, 0.0, -1.0], Ranks((2, 1, 2, 3))),
        (Kind.THUMBS, [0.0], Thumb(True)),
        (Kind.THUMBS, [-0.1], Thumb(False)),
        (Kind.RATING, [-9.0], Rating(1)),
        (Kind.RATING, [0.0], Rating(3)),
        (Kind.RATING, [1.1], Rating(4)),
        (Kind.RATING, [9.0], Rating(5)),
    ],
)
def test_a_verdict_goes_by_the_scores(kind: Kind, scores: list[float], expected: Verdict) -> None:
    judged = task(kind, *(str(i) for i in range(len(scores))))
    assert verdict(judged, scores, LabellerSettings(), seed=0) == expected


def test_it_errs_as_often_as_bradley_and_terry_say() -> None:
    """On 4000 tasks, for a difference of 1 at a noise of 0.5; within four standard errors."""
    noisy, count = LabellerSettings(noise=0.5), 4000
    said = [verdict(task(Kind.COMPARE, "a", "b", key=str(i)), [1.0, 0.0], noisy, seed=0) for i in range(count)]
    expected = 1 / (1 + math.exp(-1.0 / 0.5))
    share = Counter(said)[Ranks((1, 2))] / count
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / count)


def test_thumbs_err_alike() -> None:
    noisy, count = LabellerSettings(noise=0.5, content=1.0), 4000
    said = [verdict(task(Kind.THUMBS, "a", key=str(i)), [1.5], noisy, seed=0) for i in range(count)]
    expected = 1 / (1 + math.exp(-1.0))
    assert abs(Counter(said)[Thumb(True)] / count - expected) < 4 * math.sqrt(expected * (1 - expected) / count)


def test_what_it_says_depends_on_seed_and_task_alone() -> None:
    noisy = LabellerSettings(noise=1.0)
    tasks = [task(Kind.RANK, "a", "b", "c", key=str(i)) for i in range(50)]
    said = {one.key: verdict(one, [0.0, 0.0, 0.0], noisy, seed=0) for one in tasks}
    assert said == {one.key: verdict(one, [0.0, 0.0, 0.0], noisy, seed=0) for one in reversed(tasks)}
    assert said != {one.key: verdict(one, [0.0, 0.0, 0.0], noisy, seed=1) for one in tasks}


def test_its_judgements_are_in_the_store_under_its_name_and_are_not_made_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "TASKS_PER_CALL", 2)
    tasks = [task(Kind.COMPARE, "short", "longer one", key=str(i), wanted=2) for i in range(5)]
    asked = []

    def counted(item: ScoreItem) -> float:
        asked.append(item)
        return length(item)

    with FakeRewardServer(counted) as server:
        labeller = LabellerSettings(address=server.address)
        assert label(store, tasks[:3], labeller, seed=0).name == "models/fake/versions/1"
        assert len(asked) == 6
        label(store, tasks, labeller, seed=0)  # as a run that was stopped half way
        assert len(asked) == 10
    said = list(store.judged())
    assert Counter(one.person for one in said) == {"models/fake/versions/1": 5, "models/fake/versions/1 (2)": 5}
    assert {one.verdict for one in said} == {Ranks((2, 1))}
    assert store.missing(one.key for one in tasks) == 0


def test_a_verdict_is_never_made_up(store: Store) -> None:
    def failing(item: ScoreItem) -> float | ScoreFailure:
        assert isinstance(item.input, TextPair)
        return 1.0 if item.input.response == "good" else ScoreFailure(item.item_id, "INPUT_TOO_LONG", "too long")

    with FakeRewardServer(failing) as server, pytest.raises(RunFailed, match=r"a task: .*INPUT_TOO_LONG"):
        label(store, [task(Kind.COMPARE, "good", "bad")], LabellerSettings(address=server.address), seed=0)
    assert list(store.judged()) == []
