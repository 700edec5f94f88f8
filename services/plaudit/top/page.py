"""A page of metrics, in Prometheus's text format, as numbers; what was counted between two of them."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

OURS = ("plaudit_", "# HELP plaudit_", "# TYPE plaudit_")
COUNTED = ("_total", "_bucket", "_count")
"""Ends of names of what only grows while a process lives. A histogram's sum is not among them: scores are negative."""
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """Every sample of ours by name and labels."""

    samples: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with at least these labels; 0 where there is none."""
        return sum(value for found, value in self.samples.get(name, {}).items() if labels.items() <= found)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums by the values of one label, sorted by them."""
        sums: dict[str, float] = defaultdict(float)
        for found, value in self.samples.get(name, {}).items():
            sums[dict(found).get(label, "")] += value
        return dict(sorted(sums.items()))

    def buckets(self, name: str) -> list[tuple[float, float]]:
        """A histogram's (upper bound, cumulative count), over all its labels; ascending."""
        sums = self.by(f"{name}_bucket", "le")
        return sorted((float(bound), count) for bound, count in sums.items())

    def since(self, earlier: "Page") -> "Page":
        """How much each sample has grown; of one that was not there, all of it."""
        none: Mapping[Labels, float] = {}
        return Page(
            {
                name: {labels: value - earlier.samples.get(name, none).get(labels, 0.0) for labels, value in of.items()}
                for name, of in self.samples.items()
            }
        )

    def began_anew(self, earlier: "Page") -> bool:
        """Whether another process counts now: a count is lower than before, or gone."""
        return any(
            self.samples.get(name, {}).get(labels, 0.0) < value
            for name, of in earlier.samples.items()
            if name.endswith(COUNTED)
            for labels, value in of.items()
        )


def parse(text: str) -> Page:
    """Raises ValueError for what is no page of metrics."""
    ours = "\n".join(line for line in text.splitlines() if line.startswith(OURS))
    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    try:
        for family in text_string_to_metric_families(ours):
            for sample in family.samples:
                labels = frozenset((name, printable(value)) for name, value in sample.labels.items())
                samples[sample.name][labels] = float(sample.value)
                if sample.name.endswith("_bucket"):
                    float(sample.labels["le"])
    except (IndexError, KeyError, OverflowError) as error:  # the parser's own, on what it did not expect
        raise ValueError(str(error)) from None
    return Page(dict(samples))


def printable(text: str) -> str:
    """Without what would move the cursor or change colours: a page may come from anywhere."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """As Prometheus's `histogram_quantile`, of ascending (upper bound, cumulative count); None of no observations.

    Within a bucket it is interpolated, from 0 in a first one with a positive bound. What lies in the last bucket, which
    has no upper bound, counts as the bound below.
    """
    if len(buckets) < 2 or not math.isinf(buckets[-1][0]) or not buckets[-1][1] > 0:
        return None
    rank = q * buckets[-1][1]
    at = next(index for index, (_, count) in enumerate(buckets) if count >= rank)
    if at == len(buckets) - 1:
        return buckets[-2][0]
    bound, count = buckets[at]
    if at == 0 and bound <= 0:
        return bound
    start, below = buckets[at - 1] if at else (0.0, 0.0)
    return start + (bound - start) * (rank - below) / (count - below) if count > below else start
