"""What the trainer's and the pool's metrics are made with."""

DURATION_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
"""Seconds: a toy's step to a large model's."""


class Growth:
    """Of running totals: counters are told differences."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}

    def of(self, name: str, total: float) -> float:
        """How much it has grown since it was last asked for."""
        grown = total - self._before.get(name, 0)
        self._before[name] = total
        return grown
