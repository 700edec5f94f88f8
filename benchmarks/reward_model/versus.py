"""Two studies of the same pairs and folds: how much more often is the second one's model right, pair by pair?

python benchmarks/reward_model/versus.py runs/study-a runs/study-b
"""

import json
import sys
from pathlib import Path

import numpy as np

from plaudit.uncertainty import paired_difference


def outcomes(folder: Path) -> list[float]:
    """(n,) of all folds, NaN without a score."""
    folds = sorted(folder.glob("fold-*.json"))
    return [np.nan if one is None else one for path in folds for one in json.loads(path.read_text())["model"]]


def main(before: str, after: str) -> None:
    first, second = (np.array(outcomes(Path(folder))) for folder in (before, after))
    both = ~np.isnan(first) & ~np.isnan(second)
    gain = paired_difference(second[both], first[both]).scaled(100)
    assert gain.interval is not None, "one pair is no study"
    low, high = gain.interval
    print(f"{gain:+.1f} % of {gain.n} pairs, 95 %: {low:+.1f} to {high:+.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
