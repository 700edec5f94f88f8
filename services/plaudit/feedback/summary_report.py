"""A summary as text: Markdown that can be read in a terminal too."""

from collections.abc import Iterator, Sequence

from plaudit.feedback.records import Remark
from plaudit.feedback.summary import Pace, PersonSummary, Summary
from plaudit.uncertainty import Estimate
from plaudit.visible import cell

NONE = "-"
PEOPLE = ("", "judged", "skipped", "flagged", "median s", "known %", "others %", "reliability", "longer %", "first %")
LEGEND = """± is one standard error. known: right answers to questions whose answer was known. others: agrees with most
of the others. reliability: probability of being right, by Dawid and Skene's model. longer, first: the longer answer, or
the one shown first, is the better one; * is further off than chance is likely to put anybody."""
MODELS = ("", "strength", "Elo", "won %", "pairs")
MODELS_LEGEND = "strength: the difference of two is the log-odds that people prefer one (Bradley and Terry)."


def as_text(summary: Summary) -> str:
    """For a terminal, a note or a pull request."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield from ("# Judgements", "", *_progress(summary), "")
    if summary.agreement:
        yield from _table(("", "alpha", "tasks by several", "people", "median s"), _agreement(summary))
    if summary.people:
        yield from _table(PEOPLE, [_person(person) for person in summary.people])
        yield from (LEGEND, "")
    if summary.leaderboard:
        standings = (
            (one.source, f"{one.strength:+.2f}", f"{one.elo:.0f}", _percent(one.won), str(one.pairs))
            for one in summary.leaderboard
        )
        yield from _table(MODELS, list(standings))
        yield from (MODELS_LEGEND, "")
    if summary.remarks:
        yield from _table(("beside judging", "task", "person", "said"), list(map(_remark, summary.remarks)), left=True)
    yield from summary.notes


def _progress(summary: Summary) -> Iterator[str]:
    progress = summary.progress
    yield (
        f"{progress.given} judgements of {progress.wanted} wanted for {progress.tasks} tasks, {progress.left} left; "
        f"{progress.known} more tasks whose answer is known. {progress.skipped} skipped, {progress.flagged} flagged."
    )
    yield _pace(summary.pace)


def _pace(pace: Pace) -> str:
    left = "" if pace.hours_left is None else f": {pace.hours_left:.1f} hours left"
    return f"{pace.last_hour:.0f} in the last hour, {pace.last_day:.1f} an hour in the last day{left}."


def _agreement(summary: Summary) -> list[tuple[str, ...]]:
    return [
        (kind, _share(one.alpha), str(one.tasks), str(one.people), _number(summary.pace.seconds.get(kind)))
        for kind, one in summary.agreement.items()
    ]


def _person(person: PersonSummary) -> tuple[str, ...]:
    marks = {name: " *" if name in person.off else "" for name in ("longer", "earlier")}
    return (
        person.name,
        *map(str, (person.judged, person.skipped, person.flagged)),
        _number(person.seconds),
        _percent(person.known),
        _percent(person.others),
        NONE if person.reliability is None else f"{person.reliability:.2f}",
        _percent(person.longer) + marks["longer"],
        _percent(person.earlier) + marks["earlier"],
    )


def _remark(remark: Remark) -> tuple[str, ...]:
    what = [name for name, is_so in (("skipped", remark.skipped), ("flagged", remark.flagged)) if is_so]
    return " and ".join(what) or "judged", remark.task, remark.person, remark.comment


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: bool = False) -> Iterator[str]:
    """Names to the left, figures to the right, unless all are words."""
    cells = [columns, *([cell(text) for text in row] for row in rows)]
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    for at, (name, *figures) in enumerate(cells):
        padded = (text.ljust(width) if left else text.rjust(width) for text, width in zip(figures, others, strict=True))
        yield f"| {name.ljust(first)} | {' | '.join(padded)} |"
        if at == 0:
            end = "-" if left else ":"
            yield f"|{'-' * (first + 2)}|{'|'.join('-' * (width + 1) + end for width in others)}|"
    yield ""


def _percent(share: Estimate | None) -> str:
    return NONE if share is None else f"{share.scaled(100):.0f}"


def _share(share: Estimate | None) -> str:
    return NONE if share is None else f"{share:.2f}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}"
