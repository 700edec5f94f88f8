"""Two studies of the same pairs and folds: how much more often is the second one's model right, pair by pair?

The interval is over prompts, as what was said of one hangs together.

python benchmarks/reward_model/versus.py runs/study-a runs/study-b
"""

import json
import sys
from pathlib import Path

import numpy as np

from plaudit.uncertainty import clustered_mean

PROMPTS = "prompts.json"


def outcomes(folder: Path, folds: int) -> list[float]:
    """(n,) of all folds, NaN without a score."""
    found = [json.loads((folder / f"fold-{fold}.json").read_text())["model"] for fold in range(folds)]
    return [np.nan if one is None else one for fold in found for one in fold]


def main(before: str, after: str) -> None:
    folders = Path(before), Path(after)
    one, other = (_prompts(folder) for folder in folders)
    if one != other:
        sys.exit(f"{before} and {after} are not of the same pairs and folds")
    first, second = (np.array(outcomes(folder, len(one))) for folder in folders)
    both = ~np.isnan(first) & ~np.isnan(second)
    prompts = np.array([prompt for fold in one for prompt in fold])[both]
    gain = clustered_mean(second[both] - first[both], prompts.tolist()).scaled(100)
    assert gain.interval is not None, "one prompt is no study"
    low, high = gain.interval
    print(f"{gain:+.1f} % of {gain.n} pairs, 95 %: {low:+.1f} to {high:+.1f}")


def _prompts(folder: Path) -> list[list[int]]:
    """By fold, the number of each pair's prompt."""
    path = folder / PROMPTS
    if not path.is_file():
        sys.exit(f"{path} is missing: run study.py on {folder} again, it keeps the folds")
    found: list[list[int]] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
