"""Weights to the workers: `python benchmarks/scale/weights.py [--rounds 20]`

    ours    from a dictionary of tensors in the learner to two workers that have copied them into their own
    bare    the same bytes copied once per worker, one after another, in one process

Of SmolLM2-135M in float32, of a model of twice the parameters in bfloat16, and of an adapter of rank 16 for the first.
Medians over rounds: now and then Ray's object store takes memory that was never touched, which costs more than
everything else; the longest round shows it.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from plaudit.policy.settings import PolicySettings
from plaudit.policy.weights import load_into, pack, unpack
from plaudit.rollout.cluster import start_ray
from plaudit.rollout.pool import RayRolloutPool
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory, Weights

HERE = Path(__file__).parent
WORKERS = 2
WARM_UP = 12
KIND = "weights:Holder"


class Holder:
    """Has parameters of its own, into which new ones are copied, as a model has."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        torch.set_num_threads(1)
        self._own = torch.nn.ParameterDict()

    def load_weights(self, weights: Weights) -> None:
        """As `TransformersEngine` does; the first ones say what there is."""
        if not len(self._own):
            self._own = torch.nn.ParameterDict(unpack(weights))
        load_into(self._own, weights)

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
        """Median of the rounds' ratios."""
        return median(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))


def model(dtype: torch.dtype, layers: int) -> dict[str, torch.Tensor]:
    """The matrices of SmolLM2-135M, which has 30 layers."""
    hidden, narrow, wide = 576, 192, 1536
    weights = {"embedding": torch.ones(49152, hidden, dtype=dtype)}
    for layer in range(layers):
        for name, rows in (("q", hidden), ("k", narrow), ("v", narrow), ("o", hidden), ("gate", wide), ("up", wide)):
            weights[f"{name}_{layer}"] = torch.full((rows, hidden), float(layer), dtype=dtype)
        weights[f"down_{layer}"] = torch.full((hidden, wide), float(layer), dtype=dtype)
    return weights


def adapter(rank: int) -> dict[str, torch.Tensor]:
    """Of 30 layers, four matrices each, hidden size 576."""
    return {f"{half}_{n}": torch.ones(rank, 576) for n in range(120) for half in ("A", "B")}


def measure(name: str, weights: dict[str, torch.Tensor], rounds: int) -> Measured:
    """Takes turns with the bare copies, in a Ray of its own; the first turns of each are not counted."""
    connection = start_ray(None, num_cpus=1024)
    settings = RolloutSettings(workers=WORKERS, cpus_per_worker=0.01)
    pool = RayRolloutPool(settings, PolicySettings(model="none"), engine=KIND)
    targets = [{key: torch.empty_like(value) for key, value in weights.items()} for _ in range(WORKERS)]
    ours, bare = [], []
    try:
        while pool.counts.alive < WORKERS:
            time.sleep(0.1)
        for version in range(WARM_UP + rounds):
            began = time.monotonic()
            before = pool.counts
            pool.set_weights(version, pack(weights))
            put = time.monotonic() - began
            while (now := pool.counts).syncs == before.syncs:
                time.sleep(0.05)  # the workers need the processors
            ours.append(put + now.sync_s - before.sync_s)
            began = time.monotonic()
            for target in targets:
                for key, value in weights.items():
                    target[key].copy_(value)
            bare.append(time.monotonic() - began)
    finally:
        pool.close()
        connection.close()
    return Measured(name, sum(one.nbytes for one in weights.values()) / 1e6, ours[WARM_UP:], bare[WARM_UP:])


def main() -> None:
    """Prints a table, writes weights.json."""
    parser = argparse.ArgumentParser(description="Weights to the workers.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, default=HERE / "weights.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        measure("float32", model(torch.float32, 30), asked.rounds),
        measure("bfloat16", model(torch.bfloat16, 68), asked.rounds),
        measure("LoRA, rank 16", adapter(16), asked.rounds),
    ]
    table = Table(title="New weights to two workers")
    for heading in ("", "MB", "ours, s", "longest", "bare copies, s", "ratio"):
        table.add_column(heading, justify="right")
    for row in rows:
        seconds = (median(row.ours), max(row.ours), median(row.bare))
        table.add_row(row.name, f"{row.megabytes:.1f}", *(f"{one:.3f}" for one in seconds), f"{row.ratio:.2f}")
    Console().print(table)
    asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
