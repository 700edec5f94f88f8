"""Weights to the workers: `python benchmarks/scale/weights.py [--rounds 5]`

    ours    from a dictionary of tensors in the learner to two workers that have copied them into their own
    bare    the same bytes copied once per worker, one after another, in one process

Of a model of 540 MB, float32 and bfloat16, and of an adapter of rank 16 for one of them. A ratio per round; what a
worker needs to know of a version beside its bytes is part of ours.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from plaudit.policy.flat_weights import pack, unpack
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.pool import RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory

HERE = Path(__file__).parent
WORKERS = 2
KIND = "weights:Holder"


class Holder:
    """Has parameters of its own, into which new ones are copied, as a model has."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        torch.set_num_threads(1)
        self._own: dict[str, torch.Tensor] = {}

    def load_weights(self, weights: npt.NDArray[np.uint8]) -> None:
        """What `policy.flat_weights.load_into` does with a model."""
        given = unpack(weights)
        if not self._own:
            self._own = {name: torch.empty_like(value) for name, value in given.items()}
        for name, value in given.items():
            self._own[name].copy_(value)

    def generate(
        self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int
    ) -> Iterator[Trajectory]:
        """Never asked to."""
        return iter(())


@dataclass(frozen=True)
class Measured:
    """Seconds, a value a round."""

    name: str
    megabytes: float
    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """Mean of the rounds' ratios."""
        return fmean(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))


def model(dtype: torch.dtype, megabytes: int) -> dict[str, torch.Tensor]:
    """As many bytes, in tensors of a layer's size."""
    rows = 1024
    each = rows * 1024 * dtype.itemsize
    return {f"layer.{n}": torch.full((rows, 1024), float(n), dtype=dtype) for n in range(megabytes * 10**6 // each)}


def adapter(rank: int) -> dict[str, torch.Tensor]:
    """Of 30 layers, four matrices each, hidden size 576."""
    return {f"{n}.{half}": torch.ones(rank, 576) for n in range(120) for half in ("A", "B")}


def measure(name: str, weights: dict[str, torch.Tensor], rounds: int) -> Measured:
    """Takes turns with the bare copies; the first turn of each is not counted."""
    settings = RolloutSettings(workers=WORKERS, cpus_per_worker=0.01)
    pool = RayRolloutPool(settings, PolicySettings(model="none"), engine=KIND)
    targets = [{key: torch.empty_like(value) for key, value in weights.items()} for _ in range(WORKERS)]
    ours, bare = [], []
    try:
        while pool.counts.alive < WORKERS:
            time.sleep(0.1)
        for version in range(rounds + 1):
            began = time.monotonic()
            pool.set_weights(version, pack(weights))
            while pool.counts.oldest_version < version:
                time.sleep(0.001)
            ours.append(time.monotonic() - began)
            began = time.monotonic()
            for target in targets:
                for key, value in weights.items():
                    target[key].copy_(value)
            bare.append(time.monotonic() - began)
    finally:
        pool.close()
    return Measured(name, sum(one.nbytes for one in weights.values()) / 1e6, ours[1:], bare[1:])


def main() -> None:
    """Prints a table, writes weights.json."""
    parser = argparse.ArgumentParser(description="Weights to the workers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=HERE / "weights.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    connection = start_ray(None, num_cpus=1024)
    rows = [
        measure("float32", model(torch.float32, 540), asked.rounds),
        measure("bfloat16", model(torch.bfloat16, 540), asked.rounds),
        measure("LoRA, rank 16", adapter(16), asked.rounds),
    ]
    connection.close()
    table = Table(title="New weights to two workers")
    for heading in ("", "MB", "ours, s", "bare copies, s", "ratio"):
        table.add_column(heading, justify="right")
    for row in rows:
        figures = (f"{row.megabytes:.1f}", f"{fmean(row.ours):.3f}", f"{fmean(row.bare):.3f}", f"{row.ratio:.2f}")
        table.add_row(row.name, *figures)
    Console().print(table)
    asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
