"""An accuracy as a table for the terminal, as JSON, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from plaudit.preferences.agreement import Agreement
from plaudit.uncertainty import Estimate
from plaudit.visible import cell, visible

if TYPE_CHECKING:
    from plaudit.evaluation.accuracy import Accuracy

MOST_ANNOTATORS = 30
"""That have a line: those who judged most."""
COLUMNS = ("pairs", "accuracy %", "ties wrong", "length rule", "gain over it [95 %]")


def as_table(found: Accuracy) -> Table:
    """For the terminal."""
    title, caption = (Text(text) for text in (f"Agreement with preferences: {found.model}", _caption(found)))
    table = Table(title=title, caption=caption, box=box.SIMPLE, show_edge=False)
    table.add_column("", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", overflow="fold")  # on a narrow terminal in several lines, never cut
    for name, row in _rows(found):
        table.add_row(*(Text(text) for text in (visible(name), *_cells(row))))
    return table


def as_markdown(found: Accuracy) -> str:
    """For a note or a pull request."""
    lines = [f"# Agreement with preferences: {found.model}", ""]
    lines += [f"|  | {' | '.join(COLUMNS)} |", f"|---|{'---:|' * len(COLUMNS)}"]
    lines += [f"| {cell(name)} | {' | '.join(_cells(row))} |" for name, row in _rows(found)]
    return "\n".join([*lines, "", _caption(found), ""])


def as_dict(found: Accuracy) -> dict[str, Any]:
    """For programs: every estimate with its standard error, n and 95 % interval."""
    return {
        "model": found.model,
        "overall": _agreement(found.overall),
        "subsets": _agreements(found.subsets),
        "annotators": _agreements(found.annotators),
        "groups": _agreements(found.groups),
        "unseen_people": None if found.unseen_people is None else _estimate(found.unseen_people),
        "missing_pairs": found.missing_pairs,
        "missing": dict(found.missing),
    }


def _rows(found: Accuracy) -> list[tuple[str, Agreement]]:
    often = sorted(found.annotators, key=lambda name: -(found.annotators[name].accuracy.n or 0))[:MOST_ANNOTATORS]
    shown = [(name, found.annotators[name]) for name in sorted(often)]
    return [("all", found.overall), *found.subsets.items(), *found.groups.items(), *shown]


def _cells(row: Agreement) -> tuple[str, ...]:
    accuracies = (row.accuracy, row.accuracy_ties_wrong, row.length_rule)
    return (
        str(row.accuracy.n),
        *(f"{one.scaled(100):.1f}" for one in accuracies),
        _with_interval(row.gain.scaled(100)),
    )


def _with_interval(gain: Estimate) -> str:
    if gain.interval is None:
        return f"{gain.value:+.1f}"
    low, high = gain.interval
    return f"{gain.value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _caption(found: Accuracy) -> str:
    text = "± is one standard error, over prompts. The length rule picks the longer answer. "
    text += f"{found.overall.ties} ties count half."
    if found.unseen_people is not None:
        people = f"{found.unseen_people.n} unseen {'person' if found.unseen_people.n == 1 else 'people'}"
        text += f" Of {people}, each counted once: {found.unseen_people.scaled(100):.1f} %, with its ± over people."
    if (more := len(found.annotators) - MOST_ANNOTATORS) > 0:
        text += f" {more} annotators with fewer pairs have no line."
    if found.missing_pairs:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.missing.most_common())
        text += f" {found.missing_pairs} pairs have no score and are left out ({reasons})."
    return text


def _agreements(rows: Mapping[str, Agreement]) -> dict[str, Any]:
    return {name: _agreement(row) for name, row in rows.items()}


def _agreement(row: Agreement) -> dict[str, Any]:
    names = ("accuracy", "accuracy_ties_wrong", "length_rule", "gain")
    return {"ties": row.ties, **{name: _estimate(getattr(row, name)) for name in names}}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate) | {"interval_95": estimate.interval}
