"""After the run: gold rewards into its samples, and whether the demo reached what it promises.

The gold rewards are computed here, when reward model and policy are long done.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from utility import utility

from plaudit.outputs import write_rows
from plaudit.report import run_folder
from plaudit.report.estimates import HeldOut, held_out
from plaudit.rows import DataSettings, read_rows
from plaudit.uncertainty import Estimate

KL_BOUND = 10.0  # nats per response; the runs end between 2 and 3, and reward hacking begins well above 10
PROMPTS = 200
STANDARD_ERRORS = 3.0
DISTINCT_RATIO = 0.5


class Criterion(NamedTuple):
    """One promise."""

    name: str
    value: float
    bound: str
    passed: bool


def add_gold(run: Path) -> None:
    """Writes `gold` into every sample of a run."""
    for path in sorted(run.glob("samples/*.jsonl")):
        rows = read_rows(DataSettings(source=str(path)))
        write_rows(path, [{**row, "gold": utility(row["prompt"], row["response"])} for row in rows])


def summarise(folder: Path, phases: dict[str, float], peak_memory_bytes: int) -> dict[str, Any]:
    """Writes `summary.json` into the run's folder, for its report, and returns it."""
    run = run_folder.read(folder / "ppo")
    rows = held_out(run)
    before, after = rows[0], rows[-1]
    prompts = len({sample.prompt_id for sample in run.samples[after.step]})
    summary = {
        "criteria": [criterion._asdict() for criterion in criteria(before, after, prompts)],
        "phases": phases,
        "gold": _change(before.gold, after.gold, after.gold_gain),
        "proxy": _change(before.score, after.score, after.score_gain),
        "kl": _value(after.kl),
        "kl_bound": KL_BOUND,
        "distinct_before": before.distinct_ratio,
        "distinct_after": after.distinct_ratio,
        "held_out_prompts": prompts,
        "reward_model": _reward_model(folder),
        "peak_memory_bytes": peak_memory_bytes,
        "wall_seconds": sum(phases.values()),
    }
    (folder / "ppo" / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return summary


def criteria(before: HeldOut, after: HeldOut, prompts: int) -> list[Criterion]:
    """What the demo promises, and whether this run kept it."""
    errors = (after.gold_gain or Estimate(0.0)).errors or 0.0
    kl = _value(after.kl)
    distinct = after.distinct_ratio / before.distinct_ratio
    return [
        Criterion("held-out prompts", prompts, f">= {PROMPTS}", prompts >= PROMPTS),
        Criterion("gold gain in standard errors", errors, f">= {STANDARD_ERRORS:g}", errors >= STANDARD_ERRORS),
        Criterion("kl in nats per response", kl, f"<= {KL_BOUND:g}", kl <= KL_BOUND),
        Criterion("distinct ratio to SFT model", distinct, f">= {DISTINCT_RATIO:g}", distinct >= DISTINCT_RATIO),
    ]


def show(summary: dict[str, Any], console: Console) -> bool:
    """The closing tables; True when every criterion is met."""
    _phases(summary, console)
    _results(summary, console)
    table = Table(title="Verdict", title_justify="left")
    for column in ("criterion", "value", "bound", ""):
        table.add_column(column)
    for row in summary["criteria"]:
        mark = "[green]PASS" if row["passed"] else "[red]FAIL"
        value = row["value"]
        table.add_row(row["name"], str(value) if isinstance(value, int) else f"{value:.2f}", row["bound"], mark)
    console.print(table)
    return all(row["passed"] for row in summary["criteria"])


def _phases(summary: dict[str, Any], console: Console) -> None:
    table = Table(title="Time", title_justify="left")
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    for name, seconds in summary["phases"].items():
        table.add_row(name, f"{seconds:.1f}")
    table.add_section()
    table.add_row("all", f"{summary['wall_seconds']:.1f}")
    console.print(table)
    console.print(f"peak memory {summary['peak_memory_bytes'] / 2**30:.2f} GiB")


def _results(summary: dict[str, Any], console: Console) -> None:
    table = Table(title=f"On {summary['held_out_prompts']} held-out prompts (± standard error)", title_justify="left")
    for column in ("", "before PPO", "after PPO", "gain, paired"):
        table.add_column(column, justify="right" if column else "left")
    for name, label in (("gold", "gold reward"), ("proxy", "proxy (reward model)")):
        found = summary[name]
        table.add_row(label, *(_with_error(found, *keys) for keys in _COLUMNS))
    table.add_row("distinct responses", f"{summary['distinct_before']:.2f}", f"{summary['distinct_after']:.2f}", "")
    table.add_row("KL, nats per response", "0", f"{summary['kl']:.1f}", "")
    console.print(table)
    model = summary["reward_model"]
    console.print(
        f"reward model: accuracy {model['accuracy']:.3f} ± {model['standard_error']:.3f} on {model['pairs']} pairs; "
        f"Bayes accuracy of the annotators {model['bayes_accuracy']:.3f}"
    )


_COLUMNS = (("before", "before_se"), ("after", "after_se"), ("paired_gain", "paired_se"))


def _change(before: Estimate | None, after: Estimate | None, gain: Estimate | None) -> dict[str, float | None]:
    columns = zip(_COLUMNS, (before, after, gain), strict=True)
    return {
        key: value
        for keys, estimate in columns
        if estimate is not None
        for key, value in zip(keys, (estimate.value, estimate.standard_error), strict=True)
    }


def _reward_model(folder: Path) -> dict[str, float]:
    accuracy = json.loads((folder / "accuracy" / "accuracy.json").read_text(encoding="utf-8"))["overall"]["accuracy"]
    bayes = json.loads((folder / "data" / "bayes.json").read_text(encoding="utf-8"))
    return {
        "accuracy": accuracy["value"],
        "standard_error": accuracy["standard_error"],
        "bayes_accuracy": bayes["bayes_accuracy"],
        "pairs": bayes["pairs"],
    }


def _value(estimate: Estimate | None) -> float:
    """NaN where nothing was measured, which meets no criterion."""
    return float("nan") if estimate is None else estimate.value


def _with_error(found: dict[str, float], value: str, error: str) -> str:
    return f"{found[value]:+.3f} ± {found[error]:.3f}"
