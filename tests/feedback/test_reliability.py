"""People of known reliability are found out."""

import random

import pandas as pd
import pytest
from crowdkit.aggregation import OneCoinDawidSkene
from scipy.stats import spearmanr

from plaudit.feedback.records import Judgement
from plaudit.feedback.reliability import UNKNOWN, Question, fit, reliabilities
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Task, Thumb

PEOPLE = 16


def judge(task: Task, person: str, verdict: Ranks | Thumb | Demonstration) -> Judgement:
    return Judgement(task, person, verdict, tuple(range(len(task.answers))), "", False, 1.0, 0.0)


def crowd(seed: int, tasks: int) -> tuple[list[Judgement], dict[str, float]]:
    """Each compares two answers, right with a probability of their own; five of them a task."""
    draw = random.Random(seed)
    truth = {f"P{at:02}": 0.55 + 0.4 * at / (PEOPLE - 1) for at in range(PEOPLE)}
    judgements = []
    for at in range(tasks):
        right, wrong = draw.sample([Ranks((1, 2)), Ranks((2, 1))], 2)
        task = Task(str(at), Kind.COMPARE, "p", (Answer("a"), Answer("b")))
        people = draw.sample(sorted(truth), 5)
        judgements += [judge(task, one, right if draw.random() < truth[one] else wrong) for one in people]
    return judgements, truth


@pytest.mark.parametrize("seed", range(5))
def test_planted_reliabilities_are_recovered(seed: int) -> None:
    judgements, truth = crowd(seed, tasks=600)
    found = reliabilities(judgements)
    assert found.keys() == truth.keys()
    assert spearmanr([found[person] for person in truth], list(truth.values())).statistic >= 0.9
    assert all(abs(found[person] - truth[person]) < 0.12 for person in truth)


def test_people_who_guess_are_told_from_who_knows() -> None:
    """And nobody is found out where there is nothing to find: a control."""
    draw = random.Random(1)
    tasks = [Task(str(at), Kind.THUMBS, "p", (Answer("a"),)) for at in range(300)]
    knows = [
        judge(task, person, Thumb(at % 2 == 0)) for at, task in enumerate(tasks) for person in ("Ada", "Bob", "Cem")
    ]
    guesses = [judge(task, "Dan", Thumb(draw.random() < 0.5)) for task in tasks]
    found = reliabilities(knows + guesses)
    assert min(found[person] for person in ("Ada", "Bob", "Cem")) > 0.97
    assert abs(found["Dan"] - 0.5) < 0.1


def test_who_shares_no_question_is_not_judged() -> None:
    alone = [judge(Task(str(at), Kind.THUMBS, "p", (Answer("a"),)), "Ada", Thumb(True)) for at in range(4)]
    wrote = [judge(Task("d", Kind.DEMONSTRATION, "p"), "Bob", Demonstration("x"))]
    found = reliabilities([*alone, *wrote])
    assert found == {"Ada": None, "Bob": None}


@pytest.mark.filterwarnings("ignore")
def test_another_library_finds_the_same_where_nothing_is_known_before() -> None:
    judgements, truth = crowd(7, tasks=300)
    table = [(one.task.key, one.person, int(one.verdict == Ranks((1, 2)))) for one in judgements]
    model = OneCoinDawidSkene(n_iter=1000, tol=1e-12).fit(pd.DataFrame(table, columns=["task", "worker", "label"]))
    found = fit(judgements, right=1e-9, wrong=1e-9)
    for person in truth:
        assert found.people[person] == pytest.approx(model.skills_[person], abs=0.01)
    before = model.priors_[1] / model.priors_[0]  # it learns which answers are frequent; here both are as likely
    for key, first in model.probas_[1].items():
        ours = found.questions[Question(key, (0, 1))]
        assert ours * before / (ours * before + 1 - ours) == pytest.approx(first, abs=0.03)


def test_few_answers_make_nobody_infallible() -> None:
    """Thirty people, three answers each: nobody is far from what is known before. Without that, many would be."""
    draw = random.Random(2)
    tasks = [Task(str(at), Kind.THUMBS, "p", (Answer("a"),)) for at in range(30)]
    judgements = [
        judge(task, f"P{who}", Thumb(draw.random() < 0.8)) for task in tasks for who in draw.sample(range(30), 3)
    ]
    assert all(abs(one - UNKNOWN) < 0.2 for one in fit(judgements).people.values())
    assert sum(one > 0.99 for one in fit(judgements, right=1e-6, wrong=1e-6).people.values()) > 10


def test_one_voice_alone_says_nothing_of_who_has_it() -> None:
    shared, _ = crowd(0, tasks=100)
    alone = [
        judge(Task(f"alone {at}", Kind.COMPARE, "p", (Answer("a"), Answer("b"))), "P00", Ranks((1, 2)))
        for at in range(500)
    ]
    assert fit([*shared, *alone]).people == pytest.approx(fit(shared).people)
    assert len(fit([*shared, *alone]).questions) == 600
