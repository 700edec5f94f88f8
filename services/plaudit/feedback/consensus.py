"""What is most likely right of what people were asked twice or more, with its probability.

A vote counts everybody alike. Here whoever is mostly right counts more (reliability.py): of two who say yes and one who
says no, the one may well be right. Where nobody is known to be better than others, it is the vote.

    Likely(task, better=1, worse=0, probability=0.93, people=3)

A trainer may take its rows instead of everybody's, or both; `exporting.Form.CONSENSUS` writes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from plaudit.feedback.records import Judgement
from plaudit.feedback.reliability import Question, answers, fit
from plaudit.feedback.tasks import Task

FEWEST = 2
"""People who answered a question: what one said is no consensus."""


@dataclass(frozen=True, slots=True)
class Likely:
    """Of two answers of a task, the better one."""

    task: Task
    better: int  # places in the task's answers
    worse: int
    probability: float  # above a half
    people: int  # who put one before the other


def likely(judgements: Iterable[Judgement]) -> Iterator[Likely]:
    """Of each two answers that several people compared; where both are as likely, nothing. Tasks in their order.

    Everything that is given says whom to believe, questions whose answer was known before too.
    """
    given = list(judgements)
    tasks = {judgement.task.key: judgement.task for judgement in given}
    people: dict[Question, int] = {}
    for judgement in given:
        for question, _ in answers(judgement):
            people[question] = people.get(question, 0) + 1
    for question, first in fit(given).questions.items():
        if question.pair is not None and people[question] >= FEWEST and first != 0.5:
            better, worse = question.pair if first > 0.5 else question.pair[::-1]
            yield Likely(tasks[question.task], better, worse, max(first, 1.0 - first), people[question])
