"""The server's own figures, from its /metrics."""

import urllib.request
from dataclasses import dataclass

from child import Child
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Histogram:
    """Observations up to each bound, over all labels."""

    cumulative: dict[float, float]

    def __sub__(self, before: "Histogram") -> "Histogram":
        """What was observed in between."""
        return Histogram({bound: count - before.cumulative.get(bound, 0.0) for bound, count in self.cumulative.items()})

    def at_rank(self, rank: float) -> float:
        """The value that `rank` observations do not exceed, linear inside its bucket."""
        low, below = 0.0, 0.0
        for bound, count in sorted(self.cumulative.items()):
            if count >= rank and count > below:
                return low + (bound - low) * (rank - below) / (count - below)
            low, below = bound, count
        return low


def histogram(server: Child, name: str) -> Histogram:
    """Of a plaudit server."""
    with urllib.request.urlopen(f"http://{server.says['http_address']}/metrics") as reply:
        families = text_string_to_metric_families(reply.read().decode())
    cumulative: dict[float, float] = {}
    for family in families:
        for sample in family.samples:
            if sample.name == name + "_bucket":
                bound = float(sample.labels["le"])
                cumulative[bound] = cumulative.get(bound, 0.0) + sample.value
    return Histogram(cumulative)
