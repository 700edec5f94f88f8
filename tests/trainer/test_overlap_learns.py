"""What is learnt with responses a step old is what is learnt with fresh ones, up to the noise between seeds."""

from pathlib import Path
from statistics import fmean

import pytest

from plaudit.uncertainty import mean
from plaudit_client.fake import FakeRewardServer

from .programs import finish, metrics_of, settings_file, start

SEEDS = range(4)


def _last_score(tmp_path: Path, address: str, mode: str, seed: int) -> tuple[float, float]:
    """(of the first steps, of the last)."""
    path = settings_file(
        tmp_path, address, steps=60, batch_size=32, seed=seed, pretraining=None,
        rollout={"workers": 2, "group_size": 8, "mode": mode}, checkpoints={"every": 60},
        samples={"every": 60, "best_of": 0},
        ppo={"learning_rate": 1e-3, "epochs": 2, "kl": {"coef": 0.02}},
    )  # fmt: skip
    folder = tmp_path / f"{mode}-{seed}"
    code, errors = finish(start(path, f"folder={folder}"))
    assert code == 0, errors
    rows = metrics_of(folder)
    if mode == "overlapped":
        assert sum(row["staleness_1"] for row in rows) > 0.5 * sum(row["episodes"] for row in rows)
    return fmean(row["score_mean"] for row in rows[:3]), fmean(row["score_mean"] for row in rows[-10:])


@pytest.mark.learning
def test_overlapping_changes_nothing_that_is_learnt(tmp_path: Path, server: FakeRewardServer) -> None:
    ends: dict[str, list[float]] = {}
    for mode in ("synchronous", "overlapped"):
        pairs = [_last_score(tmp_path, server.address, mode, seed) for seed in SEEDS]
        ends[mode] = [last for _, last in pairs]
        gain = mean([last - first for first, last in pairs])
        print(f"{mode}: score {[round(first, 3) for first, _ in pairs]} -> {[round(last, 3) for _, last in pairs]}")
        assert gain.value > 5 * gain.standard_error
    paired = zip(ends["overlapped"], ends["synchronous"], strict=True)
    difference = mean([overlapped - synchronous for overlapped, synchronous in paired])
    print(f"overlapped less synchronous {difference.value:+.4f} ± {difference.standard_error:.4f}")
    assert abs(difference.value) < 3 * difference.standard_error
