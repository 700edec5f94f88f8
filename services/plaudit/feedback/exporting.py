"""Judgements as rows of data, in the forms that trainers read. Every row says who judged, or how many did.

    form            a row                                              read by
    preferences     {prompt, chosen, rejected}                         trl's RewardTrainer and DPOTrainer, OpenRLHF, us
    consensus       {prompt, chosen, rejected, probability}            the same; what is likely right (consensus.py)
    rankings        {prompt, responses, ranks}                         `plaudit reward-model` with loss: k_wise
    ratings         {prompt, response, score}                          `plaudit reward-model` with loss: squared_error
    thumbs          {prompt, completion, label}                        trl's KTOTrainer; loss: binary_cross_entropy
    demonstrations  {prompt, response}                                 `plaudit sft`
    scales          {prompt, response, score, standard_error}          `plaudit reward-model` with loss: squared_error

Where a prompt is a conversation, answers to it are one too: a list with the assistant's message, as trl has it. A row
of `preferences` is a pair of unequal ranks; what was ranked alike says nothing there
(of `rankings` it may be learnt: `ties: half`).

`scales` puts what all people said of a task's answers onto one scale: of log-odds, 0 on average of the task (scale.py).

What is left out: questions whose answer was known before, and judgements that were flagged, unless asked for. A comment
stands in the rows of its judgement.

With `weights`, a row also says how much whoever judged counts in training:

    export(judgements, Form.PREFERENCES, weights=reliability_weights({"Ada": 0.9, "Bob": 0.5, "Cleo": None}))
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import permutations
from typing import Any

from plaudit.feedback.consensus import Likely, likely
from plaudit.feedback.records import Judgement
from plaudit.feedback.scale import scales
from plaudit.feedback.tasks import Demonstration, Ranks, Rating, Task, Thumb

Row = dict[str, Any]
TaskRow = tuple[Task, Row]

SUREST = 0.99
"""No few judgements show that anybody is right more often."""


class Form(StrEnum):
    """Of the rows."""

    PREFERENCES = "preferences"
    CONSENSUS = "consensus"
    RANKINGS = "rankings"
    RATINGS = "ratings"
    THUMBS = "thumbs"
    DEMONSTRATIONS = "demonstrations"
    SCALES = "scales"


def export(
    judgements: Iterable[Judgement],
    form: Form,
    *,
    flagged: bool = False,
    gold: bool = False,
    weights: Mapping[str, float] | None = None,
) -> Iterator[Row]:
    """Of those judgements that have this form, in their order; `flagged` and `gold` ones too if asked for.

    `weights`, if given, has everybody who judged; a row of many people has none.
    """
    kept = (one for one in judgements if flagged or not one.flagged)
    for task, row in _rows(kept, form, weights):
        if gold or task.gold is None:
            yield {"prompt": _prompt(task), **row, "task": task.key}


def reliability_weights(right: Mapping[str, float | None]) -> dict[str, float]:
    """How much each person counts, by the probability of being right between two answers: its log-odds.

    Among people who err independently, the sum of what they say by these weights decides as well as can be (Nitzan and
    Paroush, Optimal Decision Rules in Uncertain Dichotomous Choice Situations, 1982). At or below chance it is 0, above
    SUREST that of SUREST; of whom nothing is known, the mean of the others, or 1.
    """
    known = {person: _log_odds(chance) for person, chance in right.items() if chance is not None}
    unknown = sum(known.values()) / len(known) if known else 1.0
    return {person: known.get(person, unknown) for person in right}


def _log_odds(right: float) -> float:
    bounded = min(max(right, 0.5), SUREST)
    return math.log(bounded / (1.0 - bounded))


def _rows(judgements: Iterable[Judgement], form: Form, weights: Mapping[str, float] | None) -> Iterator[TaskRow]:
    match form:
        case Form.CONSENSUS:
            return _consensus(likely(judgements))
        case Form.SCALES:
            return _scales(list(judgements))
    return _by_judgement(judgements, FORMS[form], weights)


def _by_judgement(
    judgements: Iterable[Judgement], write: Callable[[Judgement], Iterator[Row]], weights: Mapping[str, float] | None
) -> Iterator[TaskRow]:
    for judgement in judgements:
        who: Row = {"annotator": judgement.person}
        if weights is not None:
            who["weight"] = weights[judgement.person]
        if judgement.comment:
            who["comment"] = judgement.comment
        for row in write(judgement):
            yield judgement.task, row | who


def _consensus(found: Iterable[Likely]) -> Iterator[TaskRow]:
    for one in found:
        chosen, rejected = (_answer(one.task, one.task.answers[at].text) for at in (one.better, one.worse))
        yield one.task, {"chosen": chosen, "rejected": rejected, "probability": one.probability, "people": one.people}


def _scales(judgements: Sequence[Judgement]) -> Iterator[TaskRow]:
    tasks = {judgement.task.key: judgement.task for judgement in judgements}
    people = Counter(judgement.task.key for judgement in judgements)
    for key, scale in scales(judgements).items():
        for answer, strength in zip(tasks[key].answers, scale, strict=True):
            told = {"score": strength.value, "standard_error": strength.standard_error}
            yield tasks[key], {"response": answer.text, "source": answer.source, "people": people[key]} | told


def _preferences(judgement: Judgement) -> Iterator[Row]:
    if isinstance(judgement.verdict, Ranks):
        for (better, chosen), (worse, rejected) in permutations(_ranked(judgement, judgement.verdict), 2):
            if better < worse:
                yield {"chosen": _answer(judgement.task, chosen), "rejected": _answer(judgement.task, rejected)}


def _rankings(judgement: Judgement) -> Iterator[Row]:
    if isinstance(judgement.verdict, Ranks):
        yield {
            "responses": [answer.text for answer in judgement.task.answers],
            "ranks": list(judgement.verdict.ranks),
        }


def _ratings(judgement: Judgement) -> Iterator[Row]:
    if isinstance(judgement.verdict, Rating):
        yield {"response": judgement.task.answers[0].text, "score": judgement.verdict.stars}


def _thumbs(judgement: Judgement) -> Iterator[Row]:
    if isinstance(judgement.verdict, Thumb):
        yield {"completion": _answer(judgement.task, judgement.task.answers[0].text), "label": judgement.verdict.up}


def _demonstrations(judgement: Judgement) -> Iterator[Row]:
    if isinstance(judgement.verdict, Demonstration):
        yield {"response": judgement.verdict.text}


FORMS: dict[Form, Callable[[Judgement], Iterator[Row]]] = {
    Form.PREFERENCES: _preferences,
    Form.RANKINGS: _rankings,
    Form.RATINGS: _ratings,
    Form.THUMBS: _thumbs,
    Form.DEMONSTRATIONS: _demonstrations,
}


def _ranked(judgement: Judgement, verdict: Ranks) -> list[tuple[int, str]]:
    return [(rank, answer.text) for rank, answer in zip(verdict.ranks, judgement.task.answers, strict=True)]


def _prompt(task: Task) -> str | list[dict[str, str]]:
    return task.prompt if isinstance(task.prompt, str) else [turn._asdict() for turn in task.prompt]


def _answer(task: Task, text: str) -> str | list[dict[str, str]]:
    return text if isinstance(task.prompt, str) else [{"role": "assistant", "content": text}]
