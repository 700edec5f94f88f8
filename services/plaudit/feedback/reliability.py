"""How far each person can be relied on, and what is most likely right, from what everybody said.

Where people differ, most of them are more often right than one; and who mostly says what most say is right more often.
Dawid and Skene's model (1979), with one probability of being right for each person, makes of that which answers are
likely to be right, by expectation-maximisation. It needs several people on the same questions, and more who are right
than not.

    question                                    answers
    a thumb                                     up, down
    two of a task's answers                     the first is better, the second is; "as good" is left out

Each person is taken to have answered `RIGHT` more questions rightly and `WRONG` ones wrongly. Whoever answered three
like everybody else would be infallible without it, and with few answers each the model worse than a vote.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from plaudit.feedback.records import Judgement
from plaudit.feedback.tasks import Ranks, Thumb

RIGHT, WRONG = 6.0, 2.0
UNKNOWN = RIGHT / (RIGHT + WRONG)
"""The reliability of whoever shared no question with anybody."""
MOST_ROUNDS = 1000
CLOSE = 1e-6
"""Of a round that changes nobody's reliability any more."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Question(NamedTuple):
    """A thumb, or two of a task's answers."""

    task: str
    pair: tuple[int, int] | None = None  # places in the task; the right answer is whether the first is better


@dataclass(frozen=True, slots=True)
class Model:
    """What was found."""

    people: dict[str, float]  # the probability of being right, of those who shared a question with somebody
    questions: dict[Question, float]  # the probability that up, or the first, is right; of all that were answered


def reliabilities(judgements: Sequence[Judgement]) -> dict[str, float | None]:
    """The probability of being right, of everybody who said anything; None of who shared no question with anybody."""
    people = fit(judgements).people
    return {judgement.person: people.get(judgement.person) for judgement in judgements}


def fit(judgements: Iterable[Judgement], *, right: float = RIGHT, wrong: float = WRONG) -> Model:
    """The most likely reliabilities, and by them each question's answer; before anybody speaks both are as likely."""
    said = _said(judgements)
    counts = np.bincount(said.person[said.shared], minlength=len(said.people))
    skill = np.full(len(said.people), UNKNOWN)  # a vote
    for _ in range(MOST_ROUNDS):
        before, agreed = skill, _agreed(said, _first(said, skill))
        skill = (np.bincount(said.person, agreed * said.shared, len(said.people)) + right) / (counts + right + wrong)
        if np.abs(skill - before).max(initial=0.0) < CLOSE:
            break
    return Model(
        {person: float(skill[at]) for at, person in enumerate(said.people) if counts[at]},
        dict(zip(said.questions, _first(said, skill).tolist(), strict=True)),
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """N answers, of all people to all questions."""

    questions: list[Question]
    people: list[str]
    question: Integers  # (N,)
    person: Integers  # (N,)
    first: Floats  # (N,) 1: up, or the first is better; else -1
    shared: npt.NDArray[np.bool_]  # (N,) somebody else was asked too: one voice alone says nothing of who has it


def _said(judgements: Iterable[Judgement]) -> _Said:
    given = [(question, one.person, first) for one in judgements for question, first in answers(one)]
    questions = {question: at for at, question in enumerate(dict.fromkeys(question for question, _, _ in given))}
    people = {person: at for at, person in enumerate(dict.fromkeys(person for _, person, _ in given))}
    question_of = np.array([questions[question] for question, _, _ in given], np.int64)
    person_of = np.array([people[person] for _, person, _ in given], np.int64)
    first = np.array([1.0 if first else -1.0 for _, _, first in given])
    shared = np.bincount(question_of, minlength=len(questions))[question_of] > 1
    return _Said(list(questions), list(people), question_of, person_of, first, shared)


def _first(said: _Said, skill: Floats) -> Floats:
    """(questions,) the probability that the right answer is up, or the first."""
    weight = np.log(skill / (1.0 - skill))[said.person] * said.first
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.bincount(said.question, weight, len(said.questions)))))


def _agreed(said: _Said, first: Floats) -> Floats:
    """(N,) the probability that each answer is right."""
    return np.where(said.first > 0, first[said.question], 1.0 - first[said.question])


def answers(judgement: Judgement) -> Iterator[tuple[Question, bool]]:
    """To each question, whether it is up, or the first."""
    match judgement.verdict:
        case Thumb(up):
            yield Question(judgement.task.key), up
        case Ranks(ranks):
            for first, second in combinations(range(len(ranks)), 2):
                if ranks[first] != ranks[second]:
                    yield Question(judgement.task.key, (first, second)), ranks[first] < ranks[second]
