"""Judgements as rows of data, in the forms that trainers read. Every row says who judged, or how many did.

    form            a row                                              read by
    preferences     {prompt, chosen, rejected}                         trl's RewardTrainer and DPOTrainer, OpenRLHF, us
    consensus       {prompt, chosen, rejected, probability}            the same; what is likely right (consensus.py)
    rankings        {prompt, responses, ranks}                         `plaudit reward-model` with loss: k_wise
    ratings         {prompt, response, score}                          `plaudit reward-model` with loss: squared_error
    thumbs          {prompt, completion, label}                        trl's KTOTrainer
    demonstrations  {prompt, response}                                 `plaudit sft`

Where a prompt is a conversation, answers to it are one too: a list with the assistant's message, as trl has it. A row
of `preferences` is a pair of unequal ranks; what was ranked alike says nothing there.

What is left out: questions whose answer was known before, and what somebody flagged, unless asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import permutations
from typing import Any

from plaudit.feedback.consensus import Likely, likely
from plaudit.feedback.store import Judgement
from plaudit.feedback.tasks import Demonstration, Ranks, Rating, Task, Thumb

Row = dict[str, Any]
TaskRow = tuple[Task, Row]


class Form(StrEnum):
    """Of the rows."""

    PREFERENCES = "preferences"
    CONSENSUS = "consensus"
    RANKINGS = "rankings"
    RATINGS = "ratings"
    THUMBS = "thumbs"
    DEMONSTRATIONS = "demonstrations"


def export(judgements: Iterable[Judgement], form: Form, *, flagged: bool = False, gold: bool = False) -> Iterator[Row]:
    """Of those judgements that have this form, in their order; `flagged` and `gold` ones too if asked for."""
    kept = (one for one in judgements if flagged or not one.flagged)
    rows = _consensus(likely(kept)) if form is Form.CONSENSUS else _by_judgement(kept, FORMS[form])
    for task, row in rows:
        if gold or task.gold is None:
            yield {"prompt": _prompt(task), **row, "task": task.key}


def _by_judgement(judgements: Iterable[Judgement], write: Callable[[Judgement], Iterator[Row]]) -> Iterator[TaskRow]:
    for judgement in judgements:
        for row in write(judgement):
            yield judgement.task, {**row, "annotator": judgement.person}


def _consensus(found: Iterable[Likely]) -> Iterator[TaskRow]:
    for one in found:
        chosen, rejected = (_answer(one.task, one.task.answers[at].text) for at in (one.better, one.worse))
        yield one.task, {"chosen": chosen, "rejected": rejected, "probability": one.probability, "people": one.people}


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
    match judgement.verdict:
        case Rating(stars):
            yield {"response": judgement.task.answers[0].text, "score": stars}
        case Thumb(up):
            yield {"response": judgement.task.answers[0].text, "score": 1 if up else -1}


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
