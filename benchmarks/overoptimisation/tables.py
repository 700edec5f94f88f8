"""What the studies of several seeds say: `python benchmarks/overoptimisation/tables.py runs/overoptimisation-*`

± is one standard error: over prompts for one seed, over seeds for their mean.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from overoptimise import VARIANTS

from plaudit.report import run_folder
from plaudit.report.best_of_n import BestOfN, best_of_n
from plaudit.report.estimates import held_out, paired_gain
from plaudit.report.run_folder import Run, Sample
from plaudit.uncertainty import Estimate, mean, paired_difference

KLS = (2.0, 4.0, 8.0, 16.0)


def main(folders: Sequence[Path]) -> None:
    """Prints Markdown."""
    seeds = [{name: run_folder.read(folder / name) for name in VARIANTS} for folder in folders]
    print_ends(seeds)
    print_falls(seeds)
    print_equal_kl(seeds)


def print_ends(seeds: Sequence[dict[str, Run]]) -> None:
    """Each variant's last sample, and best-of-n."""
    print("| | gold gain | proxy gain | KL, nats |\n|---|---:|---:|---:|")
    for name in VARIANTS:
        rows = [held_out(seed[name])[-1] for seed in seeds]
        cells = (_over_seeds([getattr(row, key) for row in rows]) for key in ("gold_gain", "score_gain", "kl"))
        print(f"| {name} | {' | '.join(cells)} |")
    for n in (4, 16):
        first, best = zip(*(_best(seed["ppo"], n) for seed in seeds), strict=True)
        gold = paired_difference([b.gold.value for b in best], [f.gold.value for f in first])
        proxy = paired_difference([b.score.value for b in best], [f.score.value for f in first])
        print(f"| best of {n} | {gold:+.2f} | {proxy:+.2f} | at most {best[0].kl_bound:.2f} |")
    print()


def print_falls(seeds: Sequence[dict[str, Run]]) -> None:
    """Without a penalty: where gold was highest, and what came before and after it."""
    print("| seed | gold highest at step | gold until then | gold since then | in SE | proxy since then |")
    print("|---:|---:|---:|---:|---:|---:|")
    for number, seed in enumerate(seeds):
        one = fall(seed["free"])
        last = max(seed["free"].samples)
        cells = f"{one.rise:+.2f} | {one.gold:+.2f} | {one.gold.errors or 0:+.1f} | {one.proxy:+.2f}"
        print(f"| {number} | {one.peak} of {last} | {cells} |")
    print()


class Fall(NamedTuple):
    """Gold on its way up and down, and the proxy meanwhile; paired by prompt."""

    peak: int  # the step where gold was highest
    rise: Estimate  # of gold until then
    gold: Estimate  # its change since then
    proxy: Estimate  # the proxy's


def fall(run: Run) -> Fall:
    """The highest of many noisy means is too high: the step is chosen on half the prompts, measured on the others."""
    chosen, measured = ({step: half(s) for step, s in run.samples.items()} for half in (_even, _odd))
    peak = max(chosen, key=lambda step: np.mean([s.gold for s in chosen[step] if s.gold is not None]))
    first, last = min(measured), max(measured)
    rise = paired_gain(measured[first], measured[peak], _gold)
    gold, proxy = (paired_gain(measured[peak], measured[last], read) for read in (_gold, _score))
    if rise is None or gold is None or proxy is None:
        raise ValueError(f"{run.name}: samples without gold or without a score")
    return Fall(peak, rise, gold, proxy)


def print_equal_kl(seeds: Sequence[dict[str, Run]]) -> None:
    """Gold against one reward model and against the ensemble, where they are equally far from the reference."""
    variants = ("free", "free-ensemble", "free-pessimist")
    print(f"| KL, nats | {' | '.join(variants)} | {' | '.join(f'{v} - free' for v in variants[1:])} |")
    print("|---:" * 6 + "|")
    for kl in KLS:
        gold = {name: [gold_at(seed[name], kl) for seed in seeds] for name in variants}
        reached = [i for i in range(len(seeds)) if all(np.isfinite(values[i]) for values in gold.values())]
        if not reached:
            continue
        of = {name: [values[i] for i in reached] for name, values in gold.items()}
        means = [f"{mean(of[name]):.2f}" for name in variants]
        differences = [f"{paired_difference(of[name], of['free']):+.2f}" for name in variants[1:]]
        print(f"| {kl:g} ({len(reached)} seeds) | {' | '.join([*means, *differences])} |")


def gold_at(run: Run, kl: float) -> float:
    """Gold where the run first had this KL, by a straight line between two samples; NaN where it never had."""
    rows = [(row.kl.value, row.gold.value) for row in held_out(run) if row.kl is not None and row.gold is not None]
    for (kl_0, gold_0), (kl_1, gold_1) in pairwise(rows):
        if kl_0 <= kl <= kl_1:
            return gold_0 + (gold_1 - gold_0) * (kl - kl_0) / (kl_1 - kl_0)
    return float("nan")


def _best(run: Run, n: int) -> tuple[BestOfN, BestOfN]:
    """Of one answer, and of n."""
    rows = {row.n: row for row in best_of_n(run.start)}
    return rows[1], rows[n]


def _over_seeds(estimates: Sequence[Estimate | None]) -> str:
    return f"{mean([one.value for one in estimates if one is not None]):+.2f}"


def _even(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for index, sample in enumerate(samples) if index % 2 == 0]


def _odd(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for index, sample in enumerate(samples) if index % 2]


def _gold(sample: Sample) -> float | None:
    return sample.gold


def _score(sample: Sample) -> float | None:
    return sample.score


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
