"""Judgements go out in the forms that trainers read, and come in as teams have them."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from trl.data_utils import is_conversational

from plaudit.errors import ConfigurationError
from plaudit.feedback.database import open_database
from plaudit.feedback.exporting import Form, export, reliability_weights
from plaudit.feedback.reading import read_judged, read_tasks
from plaudit.feedback.records import Judgement
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb, Verdict
from plaudit.finetune.demonstrations import read_demonstrations
from plaudit.preferences.ratings import read_ratings
from plaudit.preferences.reading import read_preferences, read_rankings
from plaudit.preferences.thumbs import read_thumbs
from plaudit.rows import DataSettings
from plaudit.trajectory import Message

ASKED = (Message("user", "hi"), Message("assistant", "hello"), Message("user", "and?"))


def said(kind: Kind, verdict: Verdict, *answers: str, prompt: Any = "a question", **changes: Any) -> Judgement:
    flagged = changes.pop("flagged", False)
    task = Task(f"{kind}/{verdict}", kind, prompt, tuple(map(Answer, answers)), **changes)
    return Judgement(task, "Ada", verdict, tuple(range(len(answers))), "", flagged, 1.0, 0.0)


SAID = [
    said(Kind.COMPARE, Ranks((2, 1)), "bad", "good"),
    said(Kind.COMPARE, Ranks((1, 1)), "as good", "as that"),
    said(Kind.RANK, Ranks((2, 1, 2)), "x", "best", "y", prompt=ASKED),
    said(Kind.RATING, Rating(4), "fine"),
    said(Kind.THUMBS, Thumb(True), "yes"),
    said(Kind.THUMBS, Thumb(False), "no", prompt=ASKED),
    said(Kind.DEMONSTRATION, Demonstration("mine")),
    said(Kind.RATING, Rating(1), "known", gold=Rating(1)),
    said(Kind.RATING, Rating(2), "something is wrong with it", flagged=True),
]


def written(folder: Path, rows: Iterable[dict[str, Any]]) -> DataSettings:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSettings(source=str(path))


def test_what_is_exported_is_what_the_readers_here_read(tmp_path: Path) -> None:
    pairs = read_preferences(written(tmp_path, export(SAID, Form.PREFERENCES)))
    assert [(pair.chosen.response, pair.rejected.response) for pair in pairs] == [
        ("good", "bad"),
        ("best", "x"),
        ("best", "y"),
    ]
    assert pairs[1].chosen.prompt == ASKED
    rankings = read_rankings(written(tmp_path, export(SAID, Form.RANKINGS)))
    assert [ranking.ranks for ranking in rankings] == [(2, 1), (2, 1, 2)], "a mere tie says nothing"
    ratings = read_ratings(written(tmp_path, export(SAID, Form.RATINGS)))
    assert [(one.side.response, one.score) for one in ratings] == [("fine", 4)], "a thumb is no star"
    [shown] = read_demonstrations(written(tmp_path, export(SAID, Form.DEMONSTRATIONS)))
    assert (shown.prompt, shown.response) == ("a question", "mine")


def test_thumbs_are_read_back_as_they_were_said(tmp_path: Path) -> None:
    found = read_thumbs(written(tmp_path, export(SAID, Form.THUMBS)))
    assert [(one.side.prompt, one.side.response, one.up, one.annotator) for one in found] == [
        ("a question", "yes", True, "Ada"),
        (ASKED, "no", False, "Ada"),
    ]


@pytest.mark.parametrize(
    ("right", "weight"), [(0.9, math.log(9)), (0.5, 0.0), (0.3, 0.0), (1.0, math.log(99)), (None, math.log(3))]
)
def test_a_row_weighs_the_log_odds_of_its_annotator_being_right(tmp_path: Path, right: float, weight: float) -> None:
    """Of whom nothing is known, the mean of the others; at or below chance nothing."""
    weights = reliability_weights({"Ada": right, "Bob": 0.75})
    found = read_preferences(written(tmp_path, export(SAID, Form.PREFERENCES, weights=weights)))
    assert [one.weight for one in found] == pytest.approx([weight] * 3)
    assert "weight" not in next(export(SAID, Form.PREFERENCES))


def test_where_nothing_is_known_of_anybody_all_weigh_alike() -> None:
    assert reliability_weights({"Ada": None, "Bob": None}) == {"Ada": 1.0, "Bob": 1.0}


def test_what_many_said_of_answers_is_one_scale(tmp_path: Path) -> None:
    """The difference of two is the log-odds that people prefer one: of 3 to 1, about log 3 less what one tie adds."""
    task = Task("k", Kind.COMPARE, "p", (Answer("a", "m1"), Answer("b")))
    ranks = [Ranks((1, 2) if at % 4 else (2, 1)) for at in range(400)]
    given = [Judgement(task, f"P{at}", one, (0, 1), "", False, 1.0, 0.0) for at, one in enumerate(ranks)]
    first, second = export(given, Form.SCALES)
    assert (first["response"], first["source"], first["people"], first["task"]) == ("a", "m1", 400, "k")
    assert first["score"] == -second["score"]
    assert abs(2 * first["score"] - math.log(3)) < 0.05
    assert 0.03 < first["standard_error"] < 0.1
    scores = {one.side.response: one.score for one in read_ratings(written(tmp_path, [first, second]))}
    assert scores == {"a": first["score"], "b": second["score"]}


def test_a_comment_goes_with_its_judgement() -> None:
    task = Task("k", Kind.THUMBS, "p", (Answer("a"),))
    given = [Judgement(task, "Ada", Thumb(True), (0,), comment, False, 1.0, 0.0) for comment in ("why", "")]
    [row, other] = export(given, Form.THUMBS)
    assert row["comment"] == "why"
    assert "comment" not in other


def test_every_row_says_who_judged_what() -> None:
    for form in set(Form) - {Form.CONSENSUS, Form.SCALES}:
        for row in export(SAID, form):
            assert row["annotator"] == "Ada"
            assert row["task"]
    assert len(list(export(SAID, Form.RATINGS, flagged=True, gold=True))) == 3


def test_a_conversation_is_one_as_trl_has_it() -> None:
    rows = [row for form in (Form.PREFERENCES, Form.THUMBS) for row in export(SAID, form)]
    assert [is_conversational(row) for row in rows] == [False, True, True, False, True]
    assert rows[-1]["completion"] == [{"role": "assistant", "content": "no"}]


ROWS = [
    ({"prompt": "p", "response": "r", "thumb": "down"}, Kind.THUMBS, Thumb(False)),
    ({"prompt": "p", "response": "r", "thumb": True, "annotator": "Bob", "id": "log/7"}, Kind.THUMBS, Thumb(True)),
    ({"prompt": "p", "response": "r", "score": 5.0}, Kind.RATING, Rating(5)),
    ({"prompt": "p", "responses": ["a", "b", "c"], "ranks": [0.5, 7, 0.5]}, Kind.RANK, Ranks((1, 2, 1))),
    ({"prompt": "p", "chosen": "a", "rejected": "b"}, Kind.COMPARE, Ranks((1, 2))),
    (
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        Kind.COMPARE,
        Ranks((1, 2)),
    ),
]


def test_what_a_team_has_comes_in_once_and_goes_out_again(tmp_path: Path) -> None:
    store = Store(open_database(f"sqlite:///{tmp_path}/judgements.db"))
    judged = list(read_judged(written(tmp_path, [row for row, _, _ in ROWS])))
    assert [(one.task.kind, one.verdict) for one in judged] == [(kind, verdict) for _, kind, verdict in ROWS]
    assert [one.person for one in judged] == ["imported", "Bob", *["imported"] * 4]
    assert judged[1].task.key == "log/7"
    for new in (True, False):
        assert {store.record(one.task, one.person, one.verdict) for one in judged} == {new}
    assert [(one.task, one.person, one.verdict) for one in store.judged()] == [
        (one.task, one.person, one.verdict) for one in judged
    ]
    assert store.sign_in("") is None, "who was imported cannot sign in"
    bob = store.sign_in(store.add_person("Bob"))
    assert bob is not None
    assert store.next(bob) is None, "all have been judged as often as wanted"


def test_two_people_who_differ_have_judged_the_same_task(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "chosen": "b", "rejected": "a", "sources": ["mb", "ma"], "annotator": "Ada"},
        {"prompt": "p", "chosen": "a", "rejected": "b", "sources": ["ma", "mb"], "annotator": "Bob"},
        {"prompt": "p", "chosen": "b", "rejected": "a", "id": "7"},
        {"prompt": "p", "chosen": "a", "rejected": "b", "id": "7", "annotator": "Bob"},
    ]
    judged = list(read_judged(written(tmp_path, rows)))
    assert judged[0].task == judged[1].task
    assert judged[0].task.answers == (Answer("a", "ma"), Answer("b", "mb"))
    assert [one.verdict for one in judged] == [Ranks((2, 1)), Ranks((1, 2))] * 2
    assert judged[2].task == judged[3].task


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "p", "response": "r", "thumb": "sideways"}, "rows.jsonl:1: 'thumb' is none of"),
        ({"prompt": "p", "response": "r", "score": 3.5}, "'score' is 3.5: people here give"),
        ({"prompt": "p", "response": "r"}, "'chosen' is missing"),
        ({"chosen": "a\n\nAssistant: x", "rejected": "b\n\nAssistant: y"}, "answer two prompts"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "sources": ["m"]}, "1 entries for 2 responses"),
    ],
)
def test_a_row_that_says_nothing_is_named(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        list(read_judged(written(tmp_path, [row])))


def test_rows_become_tasks(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "responses": ["a", "b"], "sources": ["m1", "m2"], "id": "1"}]
    [task] = read_tasks(written(tmp_path, rows), Kind.COMPARE, wanted=3)
    assert task == Task("1", Kind.COMPARE, "p", (Answer("a", "m1"), Answer("b", "m2")), 3)
    with pytest.raises(ConfigurationError, match="'responses' do not fit: a task of kind compare has 2 answers"):
        read_tasks(written(tmp_path, [{"prompt": "p", "responses": ["a"]}]), Kind.COMPARE)
    row = {"prompt": "p", "response": "a", "source": "m1", "priority": 1.5}
    [urgent] = read_tasks(written(tmp_path, [row]), Kind.RATING)
    assert (urgent.priority, urgent.answers) == (1.5, (Answer("a", "m1"),))
    plain, told = read_tasks(written(tmp_path, [row, row | {"instructions": "Be brief."}]), Kind.RATING)
    assert (plain.instructions, told.instructions) == ("", "Be brief.")
    assert plain.key == urgent.key != told.key, "asked otherwise it is another task"
    with pytest.raises(ConfigurationError, match="'priority' must be a finite number"):
        read_tasks(written(tmp_path, [row | {"priority": "high"}]), Kind.RATING)
    [written_by_people] = read_tasks(written(tmp_path, [{"prompt": "p"}]), Kind.DEMONSTRATION)
    assert written_by_people.answers == ()


def test_a_task_says_what_is_right_where_that_is_known(tmp_path: Path) -> None:
    row = {"prompt": "p", "responses": ["a", "b"]}
    rows = written(tmp_path, [row | {"gold": {"ranks": [2, 1]}}, row | {"id": "unknown"}])
    assert [task.gold for task in read_tasks(rows, Kind.COMPARE)] == [Ranks((2, 1)), None]
    for gold in ({"ranks": [1, 2, 3]}, {"stars": 5}, "the second"):
        with pytest.raises(ConfigurationError, match="'gold' is no verdict on a task of kind compare"):
            read_tasks(written(tmp_path, [row | {"gold": gold}]), Kind.COMPARE)
