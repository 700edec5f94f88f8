"""An accuracy as a table for the terminal, as JSON, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plaudit.evaluation import rewardbench
from plaudit.evaluation.benchmark import Benchmark
from plaudit.evaluation.comparing import Accuracy
from plaudit.preferences.agreement import Agreement
from plaudit.uncertainty import Estimate
from plaudit.visible import cell, visible

MOST_ANNOTATORS = 30
"""That have a line: those who judged most."""
ACCURACY, TIES_WRONG, LENGTH_RULE = "accuracy %", "ties wrong", "length rule"
GAIN_WITHIN, GAIN = "gain over it [95 %]", "over length"
COLUMNS = (ACCURACY, TIES_WRONG, LENGTH_RULE, GAIN_WITHIN)
NARROWER = ((ACCURACY, TIES_WRONG, LENGTH_RULE, GAIN), (ACCURACY, GAIN))
WITHIN = "· "
"""Before the name of what a line above is made of."""


class TableRow(NamedTuple):
    """A name, and the figures beside it."""

    name: str
    agreement: Agreement


def as_table(found: Accuracy, width: int | None = None) -> Table:
    """For the terminal: of the columns as many as have room in `width`, and what is left out is said."""
    tables = [_table(found, columns) for columns in (COLUMNS, *NARROWER)]
    wide = Console(width=10_000)
    fitting = (table for table in tables if width is None or wide.measure(table).maximum <= width)
    return next(fitting, tables[-1])


def _table(found: Accuracy, columns: tuple[str, ...]) -> Table:
    left_out = [column for column in COLUMNS if column not in columns]
    more = f" A wider terminal shows: {', '.join(left_out)}." if left_out else ""
    title, caption = (Text(visible(text)) for text in (_title(found), _caption(found) + more))
    table = Table(title=title, caption=caption, box=box.SIMPLE, show_edge=False, pad_edge=False)
    table.add_column("", overflow="fold")
    for column in (found.unit, *columns):
        table.add_column(column, justify="right", overflow="fold")  # on a narrow terminal in several lines, never cut
    for row in _rows(found):
        table.add_row(*(Text(text) for text in (visible(row.name), *_cells(row.agreement, columns))))
    return table


def as_markdown(found: Accuracy) -> str:
    """For a note or a pull request."""
    columns = (found.unit, *COLUMNS)
    lines = [f"# {visible(_title(found))}", ""]
    lines += [f"|  | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {cell(row.name)} | {' | '.join(_cells(row.agreement))} |" for row in _rows(found)]
    return "\n".join([*lines, "", visible(_caption(found)), ""])


def as_dict(found: Accuracy) -> dict[str, Any]:
    """For programs: every estimate with its standard error, n and 95 % interval."""
    return {
        "model": found.model,
        "unit": found.unit,
        "overall": _agreement(found.overall),
        "members": _agreements(found.members),
        "benchmark": None if found.benchmark is None else _benchmark(found.benchmark),
        "subsets": _agreements(found.subsets),
        "annotators": _agreements(found.annotators),
        "groups": _agreements(found.groups),
        "unseen_people": None if found.unseen_people is None else _estimate(found.unseen_people),
        "left_out": found.left_out,
        "missing": dict(found.missing),
    }


def _title(found: Accuracy) -> str:
    return f"Agreement with {'preferences' if found.benchmark is None else found.benchmark.name}: {found.model}"


def _rows(found: Accuracy) -> Iterator[TableRow]:
    yield TableRow("all", found.overall)
    yield from (TableRow(WITHIN + _short(name), one) for name, one in found.members.items())
    if found.benchmark is None:
        yield from (TableRow(name, one) for name, one in found.subsets.items())
    else:
        yield from _benchmark_rows(found.benchmark, found.subsets)
    yield from (TableRow(name, one) for name, one in found.groups.items())
    often = sorted(found.annotators, key=lambda name: -(found.annotators[name].accuracy.n or 0))[:MOST_ANNOTATORS]
    yield from (TableRow(name, found.annotators[name]) for name in sorted(often))


def _benchmark_rows(benchmark: Benchmark, subsets: Mapping[str, Agreement]) -> Iterator[TableRow]:
    """The score, each section with its subsets, and what is in no section."""
    if benchmark.total is not None:
        yield TableRow(benchmark.name, benchmark.total)
        yield from (TableRow(WITHIN + _short(name), one) for name, one in benchmark.members.items())
    for section, one in benchmark.sections.items():
        yield TableRow(section, one)
        yield from (TableRow(WITHIN + name, subsets[name]) for name in benchmark.subsets.get(section, ()))
    inside = {*benchmark.sections, *(name for names in benchmark.subsets.values() for name in names)}
    yield from (TableRow(name, one) for name, one in subsets.items() if name not in inside)


def _short(name: str) -> str:
    """A member's, where it is models/{model}/versions/{version} or a folder with its version."""
    return name.removeprefix("models/").partition("/versions/")[0].partition(" (version ")[0]


def _cells(row: Agreement, columns: tuple[str, ...] = COLUMNS) -> tuple[str, ...]:
    """The count, and what stands in these columns."""
    shown = {
        ACCURACY: f"{row.accuracy.scaled(100):.1f}",
        TIES_WRONG: f"{row.accuracy_ties_wrong.scaled(100):.1f}",
        LENGTH_RULE: f"{row.length_rule.scaled(100):.1f}",
        GAIN: f"{row.gain.scaled(100):+.1f}",
        GAIN_WITHIN: _with_interval(row.gain.scaled(100)),
    }
    return (str(row.accuracy.n), *(shown[column] for column in columns))


def _with_interval(gain: Estimate) -> str:
    if gain.interval is None:
        return f"{gain.value:+.1f}"
    low, high = gain.interval
    return f"{gain.value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _caption(found: Accuracy) -> str:
    text = "" if found.benchmark is None else f"{_verdict(found.benchmark)} "
    text += "± is one standard error, over prompts. The length rule picks the longer answer. "
    text += f"{found.overall.ties} ties count {'half' if found.unit == 'pairs' else 'in part'}."
    if found.unseen_people is not None:
        people = f"{found.unseen_people.n} unseen {'person' if found.unseen_people.n == 1 else 'people'}"
        text += f" Of {people}, each counted once: {found.unseen_people.scaled(100):.1f} %, with its ± over people."
    if (more := len(found.annotators) - MOST_ANNOTATORS) > 0:
        text += f" {more} annotators with fewer pairs have no line."
    if found.benchmark is None and found.subsets and set(found.subsets) <= set(rewardbench.KNOWN):
        text += f" All subsets are {rewardbench.NAME}'s: benchmark: rewardbench adds its sections and score."
    if found.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.missing.most_common())
        text += f" {found.left_out} {found.unit} have no score and are left out ({reasons})."
    return text


def _verdict(benchmark: Benchmark) -> str:
    """Its score as it counts, and what that is made without."""
    absent = f"No rows of {', '.join(benchmark.absent)}." if benchmark.absent else ""
    if benchmark.total is None:
        return f"{absent} Without {', '.join(benchmark.needed)} there is no score."
    ties = "a tie is wrong" if benchmark.counted == "accuracy_ties_wrong" else "ties share"
    score: Estimate = getattr(benchmark.total, benchmark.counted).scaled(100)
    return f"{benchmark.name}'s score is {score:.1f}: {ties}. {absent}".rstrip()


def _benchmark(benchmark: Benchmark) -> dict[str, Any]:
    total = benchmark.total
    return {
        "name": benchmark.name,
        "score": None if total is None else _estimate(getattr(total, benchmark.counted)),
        "total": None if total is None else _agreement(total),
        "members": _agreements(benchmark.members),
        "sections": _agreements(benchmark.sections),
        "absent": benchmark.absent,
    }


def _agreements(rows: Mapping[str, Agreement]) -> dict[str, Any]:
    return {name: _agreement(row) for name, row in rows.items()}


def _agreement(row: Agreement) -> dict[str, Any]:
    names = ("accuracy", "accuracy_ties_wrong", "length_rule", "gain")
    return {"ties": row.ties, **{name: _estimate(getattr(row, name)) for name in names}}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate) | {"interval_95": estimate.interval}
