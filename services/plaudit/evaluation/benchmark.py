"""A public benchmark's table: sections made of subsets, and a score made of sections, each a weighted mean.

    parts = averaged({"easy": 100, "hard": 95}, {"easy": [(1.0, easy)], "hard": [(1.0, hard)]})

A mean of means is a sum of weight x mean over subsets, whichever way it came about. So its standard error is taken from
all of them at once, and prompts that several subsets share are counted as what they are: the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from plaudit.errors import ConfigurationError
from plaudit.preferences.agreement import Agreement, Compared, weighed


@dataclass(frozen=True)
class Aggregate:
    """A score of the table, as what it is made of: the sum of weight x mean over `parts`, of n rows."""

    parts: Sequence[tuple[float, Compared]]
    n: int

    @property
    def agreement(self) -> Agreement:
        """The score."""
        return weighed(self.parts, self.n)


@dataclass(frozen=True)
class Benchmark:
    """The table."""

    name: str
    counted: Literal["accuracy", "accuracy_ties_wrong"]  # which of the two its own score is
    total: Agreement | None  # its score; None where anything is `needed`
    sections: dict[str, Agreement]
    subsets: dict[str, list[str]]  # of each section, those that have rows; none where sections are the subsets
    absent: list[str]  # sections and subsets that have no rows
    needed: list[str]  # those of them without which there is no score
    members: dict[str, Agreement] = field(default_factory=dict)  # an ensemble's: the score of each

    def beside(self, members: Mapping[str, "Benchmark"]) -> "Benchmark":
        """With the scores of an ensemble's members, each by itself."""
        return replace(self, members={name: one.total for name, one in members.items() if one.total is not None})


def averaged(weights: Mapping[str, float], aggregates: Mapping[str, Aggregate]) -> Aggregate:
    """The weighted mean of those that there are, at least one."""
    there = [name for name in weights if name in aggregates]
    total = sum(weights[name] for name in there)
    parts = [(weights[name] / total * weight, part) for name in there for weight, part in aggregates[name].parts]
    return Aggregate(parts, sum(aggregates[name].n for name in there))


def check_subsets(benchmark: str, rows: Sequence[tuple[str | None, str]], known: Collection[str]) -> None:
    """ConfigurationError for the first row, (subset, where it stands), that belongs to no subset of the benchmark."""
    for subset, where in rows:
        if subset not in known:
            problem = "is missing" if subset is None else f"is '{subset}'"
            raise ConfigurationError(
                f"{where}: 'subset' {problem}: {benchmark} has {', '.join(known)}; "
                "without `benchmark` any subset is reported"
            )
