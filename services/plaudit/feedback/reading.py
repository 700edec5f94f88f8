"""Tasks from rows of data, and judgements that a team already has.

    row                                        becomes
    {prompt}                                   a task: demonstration
    {prompt, response}                         a task: rating, thumbs
    {prompt, responses}                        a task: compare (two of them), rank
    {prompt, response, score}                  a judgement, 1 to 5 stars
    {prompt, response, thumb}                  a judgement, of a log: true, "up", 1, or false, "down", -1, 0
    {prompt, responses, ranks}                 a judgement, of equal ranks a tie
    {prompt, chosen, rejected}, transcripts    a judgement, as in every shape that `plaudit reward-model` reads

`id` names a task (else its content does), `sources` who wrote the responses (`source` of one), `priority` which tasks
are asked first (the highest), `instructions` what to go by, `annotator` who judged. `gold` is the verdict that is right
where that is known, such as {"ranks": [2, 1]}, {"stars": 1}, {"up": true}: whoever is asked such a task is judged by
it. Of a chosen and a rejected one, a task has the answers in the order of their texts: two people who differ have
judged the same task.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plaudit.feedback.tasks import Answer, Kind, Ranks, Rating, Task, Thumb, Verdict, WrongVerdict, read_verdict
from plaudit.preferences.reading import Ranking, ranking_of
from plaudit.preferences.thumbs import said_up
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.trajectory import Message

NOBODY = "imported"
"""Who judged, where a row does not say."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What somebody said elsewhere."""

    task: Task
    person: str
    verdict: Verdict


def read_tasks(data: DataSettings, kind: Kind, *, wanted: int = 1) -> list[Task]:
    """One for each row. ConfigurationError names the first row that is none."""
    return [_task(row, kind, wanted) for row in read_rows(data)]


def read_judged(data: DataSettings) -> Iterator[Judged]:
    """Row by row; ConfigurationError names the first that says nothing."""
    for row in read_rows(data):
        yield _judged(row)


def _task(row: Row, kind: Kind, wanted: int) -> Task:
    texts: list[str] = []
    if kind in (Kind.THUMBS, Kind.RATING):
        texts = [row.text("response")]
    elif kind in (Kind.COMPARE, Kind.RANK):
        texts = _texts(row, "responses")
    return _with_gold(row, _made(row, kind, row.prompt(), texts, wanted))


def _with_gold(row: Row, task: Task) -> Task:
    if row.get("gold") is None:
        return task
    try:
        return replace(task, gold=read_verdict(task, row["gold"]))
    except WrongVerdict as error:
        raise row.error("gold", f"is no verdict on a task of kind {task.kind}: {error}") from None


def _judged(row: Row) -> Judged:
    if row.get("thumb") is None and row.get("score") is None:
        return _ranked(row, ranking_of(row))
    verdict = _rating(row) if row.get("thumb") is None else Thumb(said_up(row, "thumb"))
    kind = Kind.RATING if isinstance(verdict, Rating) else Kind.THUMBS
    return Judged(_made(row, kind, row.prompt(), [row.text("response")]), _person(row), verdict)


def _ranked(row: Row, ranking: Ranking) -> Judged:
    prompts = {side.prompt for side in ranking.sides}
    if len(prompts) > 1:
        raise row.error("chosen", "and 'rejected' answer two prompts: a person compares answers to one")
    kind = Kind.COMPARE if len(ranking.sides) == 2 else Kind.RANK
    rank = {rank: place for place, rank in enumerate(sorted(set(ranking.ranks)), start=1)}
    texts = [side.response for side in ranking.sides]
    order = range(len(texts)) if "responses" in row else sorted(range(len(texts)), key=lambda at: texts[at])
    task = _made(row, kind, prompts.pop(), texts, order=order)
    return Judged(task, _person(row), Ranks(tuple(rank[ranking.ranks[at]] for at in order)))


def _rating(row: Row) -> Rating:
    score = row.number("score")
    if score not in (1, 2, 3, 4, 5):
        raise row.error("score", f"is {score:g}: people here give 1, 2, 3, 4 or 5")
    return Rating(int(score))


def _made(
    row: Row,
    kind: Kind,
    prompt: str | tuple[Message, ...],
    texts: list[str],
    wanted: int = 1,
    order: Sequence[int] | None = None,
) -> Task:
    """With the answers in this order of the texts'."""
    sources = _sources(row, texts)
    if len(sources) != len(texts):
        raise row.error("sources", f"has {len(sources)} entries for {len(texts)} responses")
    answers = tuple(Answer(texts[at], sources[at]) for at in (range(len(texts)) if order is None else order))
    instructions = row.text("instructions") if row.get("instructions") is not None else ""
    key = _key(row, [kind, prompt, [one.text for one in answers], *([instructions] if instructions else [])])
    try:
        return Task(key, kind, prompt, answers, wanted, None, _priority(row), instructions)
    except ValueError as error:
        raise row.error("responses", f"do not fit: {error}") from None


def _key(row: Row, content: list[Any]) -> str:
    if row.get("id") is not None:
        return row.text("id")
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def _sources(row: Row, texts: list[str]) -> list[str]:
    if len(texts) == 1 and row.get("source") is not None:
        return [row.text("source")]
    return _texts(row, "sources") if row.get("sources") is not None else [""] * len(texts)


def _priority(row: Row) -> float:
    return 0.0 if row.get("priority") is None else row.number("priority")


def _person(row: Row) -> str:
    return NOBODY if row.get("annotator") is None else row.text("annotator")


def _texts(row: Row, field: str) -> list[str]:
    given = Row({f"{field}[{at}]": text for at, text in enumerate(row.require(field, list))}, row.where)
    return [given.text(name) for name in given]
