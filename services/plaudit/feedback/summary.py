"""What whoever runs the work wants to see of all that people said: how far it is, how fast, and whom to believe.

    summary = summarise(store)
    summary.progress.left                     judgements still wanted
    summary.pace.hours_left                   as fast as of late
    summary.agreement[Kind.COMPARE].alpha     0.62 ± 0.03
    summary.people[0].earlier                 0.58 ± 0.02: goes by the place on the screen, where `off` says so
    summary.leaderboard[0].source             the model whose answers people like best

What the extra `reliability` gives is None without it, and `notes` says so.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from plaudit.feedback.agreement import Agreement, agreements
from plaudit.feedback.bias import bias
from plaudit.feedback.scale import Standing, leaderboard
from plaudit.feedback.store import Activity, Judgement, Progress, Store
from plaudit.feedback.tasks import Kind
from plaudit.uncertainty import Estimate, mean

HOUR_S, DAY_S = 3600.0, 86400.0


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
    known: Estimate | None  # share of right answers to questions whose answer was known
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
    leaderboard: tuple[Standing, ...]  # the best first
    notes: tuple[str, ...]  # what could not be said, and why


def summarise(store: Store, *, now: float | None = None) -> Summary:
    """Of what stands in the store."""
    judgements, progress = list(store.judged()), store.progress()
    return Summary(
        progress,
        _pace(judgements, progress.left, time.time() if now is None else now),
        agreements(judgements),
        tuple(_people(store.people(), judgements)),
        tuple(leaderboard(judgements)),
        (),
    )


def _pace(judgements: Sequence[Judgement], left: int, now: float) -> Pace:
    timed = [judgement for judgement in judgements if judgement.seconds > 0]
    hour, day = (sum(now - span < one.created_at <= now for one in timed) * HOUR_S / span for span in (HOUR_S, DAY_S))
    at = hour or day
    seconds = {
        kind: median(one.seconds for one in timed if one.task.kind == kind)
        for kind in dict.fromkeys(one.task.kind for one in timed)
    }
    return Pace(hour, day, seconds, left / at if at else None)


def _people(active: Sequence[Activity], judgements: Sequence[Judgement]) -> Iterator[PersonSummary]:
    theirs: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        theirs[judgement.person].append(judgement)
    for person in active:
        said = theirs[person.name]
        times = [one.seconds for one in said if one.seconds > 0]
        right = [one.verdict == one.task.gold for one in said if one.task.gold is not None]
        biases = bias(said)
        yield PersonSummary(
            person.name,
            person.judged,
            person.skipped,
            person.flagged,
            median(times) if times else None,
            mean(right) if right else None,
            None,
            None,
            biases.longer,
            biases.earlier,
        )
