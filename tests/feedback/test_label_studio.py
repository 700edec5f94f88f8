"""Label Studio's export, as its documentation shows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from plaudit.errors import ConfigurationError
from plaudit.feedback.label_studio import read_label_studio
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task

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
