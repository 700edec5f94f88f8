"""How far each person can be relied on, and what is most likely right, from what everybody said.

Where people differ, most of them are more often right than one; and who mostly says what most say is right more often.
Dawid and Skene's model (1979) makes of that the probability that a person is right, whatever the right answer is, and
what each answer is likely to be, by expectation-maximisation (of crowd-kit). It needs several people on the same
questions, and more who are right than not.

    question                                    answers
    a thumb                                     up, down
    two of a task's answers                     the first is better, the second is; "as good" is left out

Beside it stands how often each person was right on questions whose answer was known before: fewer of them, but nobody's
opinion.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd
from crowdkit.aggregation import OneCoinDawidSkene

from plaudit.feedback.store import Judgement
from plaudit.feedback.tasks import Ranks, Thumb
from plaudit.uncertainty import Estimate, mean

ITERATIONS = 200
"""Of expectation-maximisation, at most."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of one person."""

    consensus: float | None  # probability of being right, by the model; None: shared no question with anybody
    known: Estimate | None  # share of right answers to questions whose answer was known
    questions: int  # answered


def reliabilities(judgements: Sequence[Judgement]) -> dict[str, Reliability]:
    """By person."""
    said = pd.DataFrame(_answers(judgements), columns=["task", "worker", "label"])
    skills = _skills(said)
    right: dict[str, list[bool]] = defaultdict(list)
    for judgement in judgements:
        if judgement.task.gold is not None:
            right[judgement.person].append(judgement.verdict == judgement.task.gold)
    asked = said["worker"].value_counts()
    return {
        person: Reliability(
            skills.get(person), mean(right[person]) if person in right else None, int(asked.get(person, 0))
        )
        for person in dict.fromkeys(judgement.person for judgement in judgements)
    }


def _skills(said: pd.DataFrame) -> dict[str, float]:
    """Of who shared a question with somebody."""
    shared = said[said.groupby("task")["worker"].transform("nunique") > 1]
    if shared.empty:
        return {}
    model = OneCoinDawidSkene(n_iter=ITERATIONS).fit(shared)
    return {str(person): float(skill) for person, skill in model.skills_.items()}


def _answers(judgements: Iterable[Judgement]) -> Iterator[tuple[str, str, int]]:
    """(question, person, which of two answers)."""
    for judgement in judgements:
        match judgement.verdict:
            case Thumb(up):
                yield judgement.task.key, judgement.person, int(up)
            case Ranks(ranks):
                for pair, (first, second) in enumerate(combinations(ranks, 2)):
                    if first != second:
                        yield f"{judgement.task.key}\0{pair}", judgement.person, int(first < second)
