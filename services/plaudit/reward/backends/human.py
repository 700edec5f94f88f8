"""People as a reward model: each item is a task of `plaudit label`, and has a score when somebody has judged it.

                judged by                 raw                                   score
    rating      1 to 5 stars              the mean of what was said             (raw - 3) / 2
    thumbs      up or down                +1, -1, or the mean of them           raw

What people said of a pair stands in the database, under the content and the definition they were asked by: whoever asks
for the pair again, here or of another replica, is told the same; who asks while it waits, waits along. No item has a
number that nobody gave: what is flagged, passed on by everybody or not judged in time is a status.

An item is judged by itself, for RankCandidates too: its scores are those of Score, as the contract has it.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Collection, Sequence

from plaudit.feedback.awaited import Heard
from plaudit.feedback.database import Database
from plaudit.feedback.tasks import Answer as TaskAnswer
from plaudit.feedback.tasks import Kind, Rating, Task, Thumb, Verdict
from plaudit.reward.admission import Admission
from plaudit.reward.backends.desk import Desk, Done
from plaudit.reward.calibration import Calibration
from plaudit.reward.errors import DatabaseAway, DeadlineExpired, Declined, NotJudged, RequestError
from plaudit.reward.gate.callers import caller
from plaudit.reward.items import Answer, Card, Conversation, Deadline, Durations, Item, Outcome, Scored, about, text_of
from plaudit.reward.metrics import Metrics
from plaudit.reward.rendering import check_turns
from plaudit.reward.settings import HumanSettings
from plaudit.trajectory import Message

SCALES = {"rating": Calibration(mean=3.0, std=2.0), "thumbs": Calibration(mean=0.0, std=1.0)}
PAUSE_S = 60.0
"""Longer than this between two judgements nobody was at the desk: it says nothing of their pace."""


class HumanModel:
    """A Served whose scores are people's. It owns `database`."""

    def __init__(self, name: str, settings: HumanSettings, database: Database, metrics: Metrics) -> None:
        self.card = _card(name, settings)
        self.admission = Admission(settings.max_queue_items, float("inf"))
        self._settings, self._metrics = settings, metrics
        self._heard_at = time.monotonic()
        self._desk = Desk(name, database, self._conclude, self._observe, withdraw=settings.withdraw)

    async def score(self, items: Sequence[Item], deadline: Deadline) -> Answer:
        """See Served.score; raises DatabaseAway too. What was judged before needs no place in the queue."""
        began = time.monotonic()
        read = [self._read(item) for item in items]
        tasks = {one.key: one for one in read if isinstance(one, Task)}
        said = await self._desk.recall(tasks)
        fresh = [task for key, task in tasks.items() if key not in said]
        self._metrics.cached(len(said), len(fresh))
        said = {key: _as_cached(outcome) for key, outcome in said.items()}
        if fresh:
            caller.get().take(about(items))
            said |= await self._judged(fresh, deadline)
        outcomes = [said[one.key] if isinstance(one, Task) else one for one in read]
        return Answer(outcomes, Durations(forward=time.monotonic() - began))

    def beating(self, patience: float) -> bool:
        """See Served.beating; that nobody judges, or that the database is away, is no standstill."""
        return self._desk.beating()

    def lost(self) -> bool:
        """See Served.lost."""
        return False

    def away(self) -> bool:
        """See Served.away."""
        return self._desk.away()

    def close(self) -> None:
        """See Served.close."""
        self._desk.close()

    def _read(self, item: Item) -> Task | RequestError:
        """The task that asks for it."""
        try:
            prompt, response = _content(item)
        except RequestError as error:
            return error
        key = f"score/{self.card.version}/{_sha256([prompt, response])[:32]}"
        return Task(
            key,
            Kind(self._settings.kind),
            prompt,
            (TaskAnswer(response),),
            self._settings.wanted,
            priority=self._settings.priority,
            instructions=self._settings.instructions,
        )

    async def _judged(self, tasks: Collection[Task], deadline: Deadline) -> dict[str, Outcome]:
        """Of each, by key, once people are done or the time is over. Raises as `score`."""
        if not self.admission.items:
            self._heard_at = time.monotonic()
        asked = sum(not self._desk.is_awaited(task.key) for task in tasks)
        left = deadline.left()
        limit = self._settings.timeout if left is None else min(left, self._settings.timeout)
        with self.admission.admit(len(tasks), asked, deadline, caller.get().id), self._desk.waiting(tasks) as coming:
            _, late = await asyncio.wait(coming.values(), timeout=limit)
        if late and deadline.passed():  # it is the call's: what was said stays in the database
            self._metrics.expired.labels("people").inc(len(late))
            raise DeadlineExpired("the deadline passed before people had judged every item")
        nobody = NotJudged(f"not judged within {self._settings.timeout:g} s")
        said = {key: nobody if one in late else one.result() for key, one in coming.items()}
        if any(isinstance(one, DatabaseAway) for one in said.values()):
            raise DatabaseAway
        return said

    def _conclude(self, heard: Heard) -> Outcome | None:
        """What comes of it; None while somebody is still to judge. Who comes too late changes nothing any more."""
        counted = heard.judgements[: self._settings.wanted]
        if len(counted) < self._settings.wanted:
            given_up = heard.skipped and (heard.skipped >= self._settings.skips or heard.unheard <= 0)
            return Declined("whoever was asked to judge it passed it on") if given_up else None
        values = [_value(judgement.verdict) for judgement in counted if not judgement.flagged]
        if not values:
            return Declined("whoever was asked to judge it said that something is wrong with it")
        raw = sum(values) / len(values)
        return Scored(SCALES[self._settings.kind].apply(raw), raw)

    def _observe(self, done: Sequence[Done], waiting: int) -> None:
        """After each look: people's pace is the rate that admission goes by."""
        self._metrics.awaited(self.card.name, waiting)
        if not done:
            return
        now = time.monotonic()
        self.admission.measured(len(done), min(now - self._heard_at, PAUSE_S * len(done)))
        self._heard_at = now
        for one in done:
            seconds = [said.seconds for said in one.heard.judgements if said.seconds is not None]
            self._metrics.judged(self.card.name, one.waited, seconds)


def _content(item: Item) -> tuple[str | tuple[Message, ...], str]:
    """(prompt, response), a conversation as one; raises InvalidItem."""
    if isinstance(item.input, Conversation):
        *before, response = check_turns(item.input.messages)
        return tuple(Message(turn.role, turn.content) for turn in before), response.content
    prompt, response_text = text_of(item)
    return prompt, response_text


def _value(verdict: Verdict) -> float:
    match verdict:
        case Rating(stars):
            return float(stars)
        case Thumb(up):
            return 1.0 if up else -1.0
    raise TypeError(f"a {type(verdict).__name__} is no score")


def _as_cached(outcome: Outcome) -> Outcome:
    return outcome._replace(cached=True) if isinstance(outcome, Scored) else outcome


def _card(name: str, settings: HumanSettings) -> Card:
    """Its version is what people are asked: whatever changes the meaning of a score makes another one."""
    scale = SCALES[settings.kind]
    digest = _sha256([settings.kind, settings.wanted, settings.instructions, scale.mean, scale.std])
    return Card(
        name=name,
        version=digest[:12],
        weights_sha256=digest,
        calibration_id=scale.id,
        dtype="float64",
        display_name=f"people: {settings.kind}" + (f", the mean of {settings.wanted}" if settings.wanted > 1 else ""),
    )


def _sha256(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree).encode()).hexdigest()
