"""Label Studio's export, as its documentation shows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from plaudit.errors import ConfigurationError
from plaudit.feedback.label_studio import read_label_studio
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb

DATA = {"prompt": "Who?", "answer1": "I", "answer2": "You"}


def annotation(kind: str, value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    result = [
        {"id": "x1", "type": "choices", "value": {"choices": ["other"]}, "from_name": "c", "to_name": "t"},
        {"id": "x2", "type": kind, "value": value, "from_name": "pw", "to_name": "answer1,answer2"},
    ]
    return {"id": 1001, "result": result, "was_cancelled": False, "completed_by": 10, "lead_time": 4.288, **changes}


def exported(folder: Path, *annotations: dict[str, Any], data: dict[str, str] = DATA) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps([{"id": 7, "data": data, "annotations": list(annotations), "predictions": []}]))
    return path


def test_two_people_compare_two_answers(tmp_path: Path) -> None:
    path = exported(
        tmp_path,
        annotation("pairwise", {"selected": "left"}),
        annotation("pairwise", {"selected": "right"}, completed_by={"id": 3, "email": "ada@example.org"}),
        annotation("pairwise", {"selected": "left"}, was_cancelled=True),
    )
    found = list(read_label_studio(path, prompt="prompt", answers=("answer1", "answer2")))
    task = Task("label-studio/7/compare", Kind.COMPARE, "Who?", (Answer("I"), Answer("You")))
    assert [one.task for one in found] == [task, task]
    assert [(one.person, one.verdict) for one in found] == [
        ("label-studio/10", Ranks((1, 2))),
        ("ada@example.org", Ranks((2, 1))),
    ]


def test_stars_and_what_people_wrote(tmp_path: Path) -> None:
    path = exported(
        tmp_path,
        annotation("rating", {"rating": 4}),
        annotation("textarea", {"text": ["Me,", "I think"]}),
        annotation("textarea", {"text": []}),
    )
    found = list(read_label_studio(path, prompt="prompt", answers=("answer1",)))
    assert [one.verdict for one in found] == [Rating(4), Demonstration("Me,\nI think")]
    assert found[1].task.answers == ()


@pytest.mark.parametrize(
    ("value", "answers", "told"),
    [
        ({"selected": "middle"}, ("answer1", "answer2"), "task 1: 'selected' is neither"),
        ({"selected": "left"}, ("answer1",), "a task of kind compare has 2 answers"),
        ({"selected": "left"}, ("answer1", "answer3"), "task 1: data: 'answer3' is missing"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, value: dict[str, str], answers: tuple[str, ...], told: str) -> None:
    path = exported(tmp_path, annotation("pairwise", value))
    with pytest.raises(ConfigurationError, match=told):
        list(read_label_studio(path, prompt="prompt", answers=answers))


@pytest.mark.parametrize("text", ["{", '{"id": 1}', "[1]"])
def test_what_is_no_export_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(ConfigurationError, match="JSON export of Label Studio"):
        list(read_label_studio(tmp_path / "export.json", prompt="p", answers=()))


RANKED = {
    "prompt": "What caused the ancient library of Alexandria to be destroyed?",
    "items": [
        {"id": "llm_1", "title": "LLM 1", "body": "Wars led to library's ruin."},
        {"id": "llm_2", "title": "LLM 2", "body": "Library's end through various wars."},
        {"id": "llm_3", "title": "LLM 3", "html": "<p>Ruin resulted from library wars.</p>"},
    ],
}
"""A task of the template "LLM Ranker"."""


def ranker(*ids: str, **buckets: list[str]) -> dict[str, Any]:
    return annotation("ranker", {"ranker": buckets or {"rank": list(ids)}})


def test_a_list_is_put_in_order(tmp_path: Path) -> None:
    path = exported(tmp_path, ranker("llm_2", "llm_3", "llm_1"), data=RANKED)
    [found] = read_label_studio(path, prompt="prompt", answers=("items",))
    assert (found.task.key, found.task.kind) == ("label-studio/7/rank", Kind.RANK)
    assert [answer.text for answer in found.task.answers] == [
        "Wars led to library's ruin.",
        "Library's end through various wars.",
        "<p>Ruin resulted from library wars.</p>",
    ]
    assert found.verdict == Ranks((3, 1, 2))
    two = {**RANKED, "items": RANKED["items"][:2]}
    [found] = read_label_studio(
        exported(tmp_path, ranker("llm_2", "llm_1"), data=two), prompt="prompt", answers=("items",)
    )
    assert (found.task.kind, found.verdict) == (Kind.COMPARE, Ranks((2, 1)))


@pytest.mark.parametrize(
    ("result", "items", "told"),
    [
        (ranker("llm_1", "llm_2"), RANKED["items"], "'ranker' does not put all answers in one order"),
        (ranker("llm_1", "llm_2", "llm_3", "llm_9"), RANKED["items"], "does not put all answers in one order"),
        (ranker(good=["llm_1"], _=["llm_2", "llm_3"]), RANKED["items"], "does not put all answers in one order"),
        (ranker("llm_1"), [{"title": "LLM 1", "body": "x"}], r"'items\[0\]' is no item of a List: it has no 'id'"),
        (ranker("llm_1"), [{"id": "llm_1"}], r"task 1: data: items\[0\]: 'body' is missing"),
    ],
)
def test_a_list_that_is_none_or_not_in_order_is_named(tmp_path: Path, result, items, told: str) -> None:
    path = exported(tmp_path, result, data={**RANKED, "items": items})
    with pytest.raises(ConfigurationError, match=told):
        list(read_label_studio(path, prompt="prompt", answers=("items",)))


def test_choices_that_mean_a_thumb_are_one(tmp_path: Path) -> None:
    said = (["Good"], ["bad"], ["other"], ["good", "bad"], [])
    path = exported(tmp_path, *(annotation("choices", {"choices": choices}) for choices in said))
    found = list(read_label_studio(path, prompt="prompt", answers=("answer1",)))
    assert [(one.task.key, one.verdict) for one in found] == [
        ("label-studio/7/thumbs", Thumb(True)),
        ("label-studio/7/thumbs", Thumb(False)),
    ]
    others = list(read_label_studio(path, prompt="prompt", answers=("answer1",), up=("other",), down=("Good",)))
    assert [one.verdict.up for one in others] == [True, False, True, True, True, True, False, True], "with x1 of each"
    assert list(read_label_studio(path, prompt="prompt", answers=("answer1", "answer2"))) == [], "of which of them?"
