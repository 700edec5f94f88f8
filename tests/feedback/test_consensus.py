"""What is most likely right is right as often as it is said to be."""

import json
import random
from statistics import fmean

import pytest

from plaudit.feedback.consensus import likely
from plaudit.feedback.exporting import Form, export
from plaudit.feedback.records import Judgement
from plaudit.feedback.tasks import Answer, Kind, Ranks, Task, Thumb
from plaudit.preferences.reading import read_preferences
from plaudit.rows import DataSettings

RIGHT = {f"P{at}": 0.95 if at < 3 else 0.55 for at in range(10)}
"""Three who know, and seven who nearly guess."""


def judge(task: Task, person: str, ranks: tuple[int, ...], flagged: bool = False) -> Judgement:
    return Judgement(task, person, Ranks(ranks), tuple(range(len(ranks))), "", flagged, 1.0, 0.0)


def compare(key: object, **changes) -> Task:
    return Task(str(key), Kind.COMPARE, "p", (Answer("a"), Answer("b")), **changes)


def crowd(seed: int, tasks: int = 400, each: int = 3) -> tuple[list[Judgement], dict[str, int]]:
    draw = random.Random(seed)
    truth = {str(at): draw.randint(0, 1) for at in range(tasks)}
    given = []
    for key, better in truth.items():
        for person in draw.sample(sorted(RIGHT), each):
            said = better if draw.random() < RIGHT[person] else 1 - better
            given.append(judge(compare(key), person, (1 + said, 2 - said)))
    return given, truth


def test_whoever_is_mostly_right_counts_more_than_a_vote() -> None:
    """Over ten crowds: more of it is right, and as much as it says of itself."""
    votes, shares, said = [], [], []
    for seed in range(10):
        given, truth = crowd(seed)
        found = {one.task.key: one for one in likely(given)}
        shares.append(fmean(one.better == truth[key] for key, one in found.items()))
        said.append(fmean(one.probability for one in found.values()))
        first = {key: [one.verdict == Ranks((1, 2)) for one in given if one.task.key == key] for key in truth}
        votes.append(fmean((fmean(first[key]) > 0.5) == (truth[key] == 0) for key in truth))
    assert fmean(shares) > fmean(votes) + 0.02
    assert abs(fmean(said) - fmean(shares)) < 0.03
    assert all(one.people == 3 for one in found.values())


def test_among_people_alike_it_is_the_vote() -> None:
    given = [judge(compare(at), f"P{who}", (1, 2) if who else (2, 1)) for at in range(1) for who in range(3)]
    [one] = likely(given)
    assert (one.better, one.worse, one.people) == (0, 1, 3)
    assert 0.5 < one.probability < 0.9, "of three who are hardly known"


def test_of_one_voice_and_of_equal_ones_nothing_is_said() -> None:
    alone = [judge(compare("alone"), "Ada", (1, 2))]
    split = [judge(compare("split"), "Ada", (1, 2)), judge(compare("split"), "Bob", (2, 1))]
    alike = [judge(compare("alike"), person, (1, 1)) for person in ("Ada", "Bob")]
    up = Task("up", Kind.THUMBS, "p", (Answer("a"),))
    thumbs = [Judgement(up, person, Thumb(True), (0,), "", False, 1.0, 0.0) for person in ("Ada", "Bob")]
    assert list(likely([*alone, *split, *alike, *thumbs])) == []


def test_rows_are_preferences_with_a_probability(tmp_path) -> None:
    ranked = Task("r", Kind.RANK, "p", (Answer("x"), Answer("y"), Answer("z")))
    known, wrong = compare("known", gold=Ranks((1, 2))), compare("wrong")
    given = [judge(ranked, person, (3, 1, 2)) for person in ("Ada", "Bob", "Cem")]
    given += [judge(known, person, (1, 2)) for person in ("Ada", "Bob")]
    given += [judge(wrong, person, (1, 2), flagged=True) for person in ("Ada", "Bob")]
    rows = list(export(given, Form.CONSENSUS))
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("y", "x"), ("z", "x"), ("y", "z")]
    assert all(row["task"] == "r" and row["people"] == 3 and 0.9 < row["probability"] < 1 for row in rows)
    assert "annotator" not in rows[0]
    assert len(list(export(given, Form.CONSENSUS, flagged=True, gold=True))) == 5
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(read_preferences(DataSettings(source=str(tmp_path / "rows.jsonl")))) == 3


@pytest.mark.parametrize("seed", range(3))
def test_order_does_not_matter(seed: int) -> None:
    given, _ = crowd(seed, tasks=60)
    shuffled = random.Random(seed).sample(given, len(given))
    found = {one.task.key: one for one in likely(given)}
    for one in likely(shuffled):
        assert one.better == found[one.task.key].better
        assert one.probability == pytest.approx(found[one.task.key].probability, abs=1e-4)
