"""An accuracy as a table for the terminal, as JSON, and as Markdown."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from plaudit.preferences.agreement import Agreement
from plaudit.uncertainty import Estimate

if TYPE_CHECKING:
    from plaudit.evaluation.accuracy import Accuracy

COLUMNS = ("pairs", "accuracy %", "ties wrong", "length rule", "gain over it [95 %]")


def as_table(found: Accuracy) -> Table:
    """For the terminal."""
    table = Table(
        title=f"Agreement with preferences: {found.model}", caption=_caption(found), box=box.SIMPLE, show_edge=False
    )
    table.add_column("", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", overflow="fold")  # on a narrow terminal in several lines, never cut
    for name, row in _rows(found):
        table.add_row(name, *_cells(row))
    return table


def as_markdown(found: Accuracy) -> str:
    """For a note or a pull request."""
    lines = [f"# Agreement with preferences: {found.model}", ""]
    lines += [f"|  | {' | '.join(COLUMNS)} |", f"|---|{'---:|' * len(COLUMNS)}"]
    lines += [f"| {name} | {' | '.join(_cells(row))} |" for name, row in _rows(found)]
    return "\n".join([*lines, "", _caption(found), ""])


def as_dict(found: Accuracy) -> dict[str, Any]:
    """For programs: every estimate with its standard error, n and 95 % interval."""
    return {
        "model": found.model,
        "overall": _agreement(found.overall),
        "subsets": {name: _agreement(subset) for name, subset in found.subsets.items()},
        "missing_pairs": found.missing_pairs,
        "missing": dict(found.missing),
    }


def _rows(found: Accuracy) -> list[tuple[str, Agreement]]:
    return [("all", found.overall), *found.subsets.items()]


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
    text = f"± is one standard error. The length rule picks the longer answer. {found.overall.ties} ties count half."
    if found.missing_pairs:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.missing.most_common())
        text += f" {found.missing_pairs} pairs have no score and are left out ({reasons})."
    return text


def _agreement(row: Agreement) -> dict[str, Any]:
    fields: dict[str, Any] = {"ties": row.ties}
    for name in ("accuracy", "accuracy_ties_wrong", "length_rule", "gain"):
        estimate: Estimate = getattr(row, name)
        fields[name] = asdict(estimate) | {"interval_95": estimate.interval}
    return fields
