"""What whoever runs the work wants to see of all that people said: how far it is, how fast, and whom to believe.

    summary = summarise(store)
    summary.progress.left                     judgements still wanted
    summary.pace.hours_left                   as fast as of late
    summary.agreement[Kind.COMPARE].alpha     0.62 ± 0.03
    summary.people[0].earlier                 0.58 ± 0.02: goes by the place on the screen, where `off` says so
    summary.leaderboard[0].source             the model whose answers people like best

Judgements that were flagged, and questions whose answer was known before, say nothing of models: see scale.py.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from plaudit.feedback.agreement import Agreement, agreements, agreements_with_others
from plaudit.feedback.bias import bias, off
from plaudit.feedback.records import Activity, Judgement, Progress, Remark
from plaudit.feedback.reliability import fit
from plaudit.feedback.scale import Placing, leaderboard
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Kind, rightness
from plaudit.uncertainty import Estimate, mean

HOUR_S, DAY_S = 3600.0, 86400.0
FEWEST_PEOPLE = 3
"""Who tell which of them is right."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What was said elsewhere took no time that is known: it is left out."""

    last_hour: float  # judgements per hour, over the last hour
    last_day: float  # judgements per hour, over the last day
    seconds: dict[Kind, float]  # the median of a judgement
    hours_left: float | None  # at the last hour's pace, else the last day's; None where nobody was at it


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """Of one person."""

    name: str
    judged: int
    skipped: int
    flagged: int
    seconds: float | None  # the median of a judgement
    known: Estimate | None  # how right, of questions whose answer was known
    others: Estimate | None  # share of answers that most of the others gave too
    reliability: float | None  # probability of being right, by Dawid and Skene's model
    longer: Estimate | None  # share of pairs in which the longer answer was the better one
    earlier: Estimate | None  # ... the one shown first; a half where the place says nothing
    off: tuple[str, ...] = ()  # which of `longer` and `earlier` are further off than chance is likely to put them


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything."""

    progress: Progress
    pace: Pace
    agreement: dict[Kind, Agreement]
    people: tuple[PersonSummary, ...]  # by name
    leaderboard: tuple[Placing, ...]  # the best first
    remarks: tuple[Remark, ...]  # the newest first
    notes: tuple[str, ...]  # what cannot be said, and why


def summarise(store: Store, *, now: float | None = None) -> Summary:
    """Of what stands in the store."""
    judgements, progress = list(store.judged()), store.progress()
    reliability = fit(judgements).people
    return Summary(
        progress,
        _pace(judgements, progress.left, time.time() if now is None else now),
        agreements(judgements),
        tuple(_people(store.people(), judgements, reliability)),
        tuple(leaderboard(judgements, reliability)),
        tuple(store.remarks()),
        tuple(_notes(judgements, reliability)),
    )


def _pace(judgements: Sequence[Judgement], left: int, now: float) -> Pace:
    timed = [judgement for judgement in judgements if judgement.seconds is not None]
    hour, day = (sum(now - span < one.created_at <= now for one in timed) * HOUR_S / span for span in (HOUR_S, DAY_S))
    at = hour or day
    seconds = {
        kind: median(one.seconds or 0.0 for one in timed if one.task.kind == kind)
        for kind in dict.fromkeys(one.task.kind for one in timed)
    }
    return Pace(hour, day, seconds, left / at if at else None)


def _people(
    active: Sequence[Activity], judgements: Sequence[Judgement], reliability: Mapping[str, float]
) -> Iterator[PersonSummary]:
    theirs: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        theirs[judgement.person].append(judgement)
    biases = {person.name: bias(theirs[person.name]) for person in active}
    others, marked = agreements_with_others(judgements), off(biases)
    for person in active:
        right = [rightness(one.verdict, one.task.gold) for one in theirs[person.name] if one.task.gold is not None]
        yield PersonSummary(
            person.name,
            person.judged,
            person.skipped,
            person.flagged,
            seconds=_median(theirs[person.name]),
            known=mean(right) if right else None,
            others=others.get(person.name),
            reliability=reliability.get(person.name),
            longer=biases[person.name].longer,
            earlier=biases[person.name].earlier,
            off=marked[person.name],
        )


def _median(judgements: Iterable[Judgement]) -> float | None:
    times = [one.seconds for one in judgements if one.seconds is not None]
    return median(times) if times else None


def _notes(judgements: Sequence[Judgement], reliability: Mapping[str, float]) -> Iterator[str]:
    people: dict[str, set[str]] = defaultdict(set)
    for judgement in judgements:
        people[judgement.task.key].add(judgement.person)
    if judgements and max(map(len, people.values())) < 2:
        yield "Nobody was asked what somebody else was: whom to believe cannot be said. Let tasks want 2 judgements."
    if 0 < len(reliability) < FEWEST_PEOPLE:
        yield "Two people say who differs from whom, and not who is right: let a third one judge what both did."
    if judgements and not any(one.task.gold is not None for one in judgements):
        yield "No question whose answer is known was asked: nobody's judgement was held against anything but opinion."
