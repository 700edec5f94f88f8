"""From measurements in turns to figures: a ratio per round, their mean, and how sure it is.

A machine that slows down slows everybody in the round, so a ratio inside a round moves less than either side. The order
turns with every round: nobody always comes first.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, TypeVar

from rich.console import Console
from rich.table import Table
from scipy import stats

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """One thing measured once a round, and what it should be."""

    name: str
    values: Sequence[float]
    target: float | None = None
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % of the mean over rounds, by Student's t; None of a single round."""
        n = len(self.values)
        if n < 2:
            return None
        half = float(stats.t.ppf(0.975, n - 1)) * stdev(self.values) / n**0.5
        return self.mean - half, self.mean + half

    @property
    def met(self) -> Literal["yes", "by interval", "no"] | None:
        """Whether the mean reaches the target, or else the interval; None where there is none."""
        if self.target is None:
            return None
        sign = 1 if self.better == "higher" else -1
        if sign * self.mean >= sign * self.target:
            return "yes"
        reach = max(sign * end for end in self.interval or (self.mean,))
        return "by interval" if reach >= sign * self.target else "no"


def turns(rounds: int, contenders: dict[str, Callable[[int], T]]) -> Iterable[dict[str, T]]:
    """Every contender once a round, each time another one first; they are told the round, counted from 1."""
    names = list(contenders)
    for number in range(1, rounds + 1):
        first = (number - 1) % len(names)
        measured = {name: contenders[name](number) for name in names[first:] + names[:first]}
        yield {name: measured[name] for name in names}


def arguments(description: str | None, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """What every benchmark here can be told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", "--pairs", type=int, default=rounds, help=f"default {rounds}")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of one measurement; default {seconds:g}")
    parser.add_argument("--json", type=Path, help="a file that gets a line with every value")
    return parser


def report(title: str, figures: Sequence[Figure], file: Path | None) -> None:
    """Prints the table; appends a line of JSON to `file`."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("mean", "95 %", "target", "met"):
        table.add_column(column, justify="right")
    for one in figures:
        interval = " to ".join(_number(end) for end in one.interval) if one.interval else ""
        sign = {"higher": "≥", "lower": "≤"}[one.better]
        target = "" if one.target is None else f"{sign} {_number(one.target)}"
        name = f"{one.name}, {one.unit}" if one.unit else one.name
        table.add_row(name, _number(one.mean), interval, target, one.met or "")
    Console().print(table)
    if file is not None:
        lines = [asdict(one) | {"mean": one.mean, "interval": one.interval, "met": one.met} for one in figures]
        with file.open("a") as output:
            print(json.dumps({"title": title, "figures": lines}), file=output)


def _number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
