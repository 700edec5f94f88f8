"""Which curves the page shows, and from which metrics."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from plaudit.report.best_of_n import BestOfN
from plaudit.report.charts import Chart, Series, chart, stacked
from plaudit.report.estimates import HeldOut
from plaudit.report.run_folder import Run, finite
from plaudit.uncertainty import Estimate

PHASES = {
    "generate": "Generate",
    "score": "Score",
    "wait": "Wait for rollouts",
    "evaluate": "Evaluate",
    "update": "Update",
    "sync": "Sync weights",
    "other": "Other",
}
"""Of one training step, in their order; "other" is what `seconds_step` has beyond them."""


@dataclass(frozen=True)
class Trained:
    """A run beside others."""

    label: str
    rows: Sequence[HeldOut]


@dataclass(frozen=True)
class Plan:
    """One small chart."""

    title: str
    unit: str
    curve: tuple[str, str, str]  # metric, label, tone


SMALL = (
    Plan("Score spread", "standard deviation in a step", ("score_std", "spread", "blue")),
    Plan("KL coefficient", "weight of the penalty", ("kl_coef", "coefficient", "plum")),
    Plan("Entropy", "nats per token", ("entropy", "entropy", "teal")),
    Plan("Clip fraction", "share of tokens", ("clip_fraction", "clipped", "rust")),
    Plan("Policy loss", "clipped objective, negated", ("policy_loss", "loss", "slate")),
    Plan("Value loss", "squared error", ("value_loss", "loss", "slate")),
    Plan("Explained variance", "share, of the returns", ("explained_variance", "explained", "slate")),
    Plan("Response length", "tokens, mean", ("response_tokens_mean", "length", "teal")),
    Plan("Truncated responses", "share of responses", ("truncated_ratio", "truncated", "rust")),
    Plan("Gradient norm", "before clipping", ("grad_norm", "norm", "slate")),
    Plan("Sampler against learner", "KL, nats per response", ("sampler_kl", "KL", "plum")),
)
RUNS = ("blue", "plum", "teal", "rust", "gold", "slate")
"""Tones of several runs on one chart."""
KL_AXIS = "KL in nats"
MISSING_REWARDS = Plan("Missing rewards", "responses per step, dropped", ("missing_rewards", "missing", "rust"))


def span(run: Run) -> tuple[float, float] | None:
    """First and last step of the whole run: the horizontal axis of every chart."""
    steps = [*(row["step"] for row in run.steps), *run.samples]
    return (min(steps), max(steps)) if steps else None


def score(run: Run) -> Chart:
    """Scores of the responses that were trained on."""
    curves = [
        _series(run, "score_mean", "score", "blue"),
        _series(run, "reward_mean", "score less KL penalty", "grey"),
    ]
    note = "responses the policy learns from"
    return chart("Score while training", "mean per step", curves, note, span=span(run))


def gain(run: Run, rows: Sequence[HeldOut]) -> Chart:
    """Proxy beside gold on the same held-out prompts, as paired gains with standard-error bands."""
    curves = [
        _estimates("reward model (proxy)", "blue", rows, [row.score_gain for row in rows]),
        _estimates("gold", "gold", rows, [row.gold_gain for row in rows]),
    ]
    known = [one for one in curves if any(map(math.isfinite, one.values))] if len(rows) > 1 else []
    title = "Gain on held-out prompts" if len(known) < 2 else "Gold beside proxy on held-out prompts"
    note = "same prompts, paired; band: ±1 standard error" if known else "prompts were sampled at fewer than two steps"
    return chart(title, "since the first sample", known, note, zero=True, span=span(run))


def frontier(measure: str, title: str, runs: Sequence[Trained], baseline: Sequence[BestOfN]) -> Chart:
    """What each run paid in KL for what it reached on held-out prompts; `measure` is "score" or "gold"."""
    curves = [
        _points(run.label, tone, [(row.kl.value, getattr(row, measure)) for row in run.rows if row.kl is not None])
        for run, tone in zip(runs, cycle(RUNS), strict=False)
    ]
    best = _points("best-of-n", "grey", [(one.kl_bound, getattr(one, measure)) for one in baseline])
    upto = f"best-of-n: n = 1 to {baseline[-1].n}, at the bound of its KL; " if baseline else ""
    unit, note = "held-out prompts, by KL in nats", f"{upto}band: ±1 standard error"
    return chart(title, unit, [*curves, best], note, along=KL_AXIS)


def kl(run: Run, rows: Sequence[HeldOut]) -> Chart:
    """KL from the reference with the bound that the run states."""
    bound = finite(run.summary.get("kl_bound"))
    curves = [
        _series(run, "kl", "training", "plum"),
        _estimates("held-out", "slate", rows, [row.kl for row in rows]),
        _series(run, "kl_target", "target", "grey"),
    ]
    references = [] if bound is None else [(bound, "bound")]
    return chart("KL from the reference", "nats per response", curves, "", references, zero=True, span=span(run))


def services(run: Run) -> list[Chart]:
    """Of several reward services: what each said; of an ensemble: how far its members lay apart."""
    titles = {"score": "Score by service", "disagreement": "Ensemble disagreement"}
    units = {"score": "mean, before weights", "disagreement": "standard deviation, mean"}
    charts = []
    for kind, title in titles.items():
        names = sorted({name for row in run.steps for name in row if re.fullmatch(rf"{kind}_\w+_mean", name)})
        shown = [
            _series(run, name, name.removeprefix(f"{kind}_").removesuffix("_mean"), tone)
            for name, tone in zip(names, cycle(RUNS), strict=False)
        ]
        if shown:
            charts.append(chart(title, units[kind], shown, span=span(run)))
    return charts


def small(run: Run) -> list[Chart]:
    """The optimiser's curves; missing rewards only where there are some."""
    plans = [*SMALL, MISSING_REWARDS] if any(row.get("missing_rewards", 0) > 0 for row in run.steps) else SMALL
    return [chart(plan.title, plan.unit, [_series(run, *plan.curve)], zero=True, span=span(run)) for plan in plans]


def phases(run: Run) -> Chart:
    """Seconds per step, stacked by phase."""
    steps = [row["step"] for row in run.steps]
    layers = [
        Series(title, f"phase-{name}", steps, [phase_seconds(row, name) for row in run.steps])
        for name, title in PHASES.items()
    ]
    shown = [layer for layer in layers if any(layer.values)] if len(steps) > 1 else []
    return stacked("Seconds per step", "stacked by phase", shown, span=(steps[0], steps[-1]) if shown else None)


def phase_seconds(row: dict[str, float], name: str) -> float:
    """Seconds that one step spent in a phase; 0 where unknown."""
    if name != "other":
        return finite(row.get(f"seconds_{name}")) or 0.0
    known = sum(phase_seconds(row, phase) for phase in PHASES if phase != "other")
    return max(0.0, (finite(row.get("seconds_step")) or known) - known)


def _series(run: Run, metric: str, label: str, tone: str) -> Series:
    values = [row.get(metric, math.nan) for row in run.steps]
    return Series(label, tone, [row["step"] for row in run.steps], values)


def _points(label: str, tone: str, points: Sequence[tuple[float, Estimate | None]]) -> Series:
    """(KL, measure) in the order of training; the KL rounded, as it is shown."""
    known = [(round(x, 3), one) for x, one in points if one is not None]
    errors = [one.standard_error or 0.0 for _, one in known]
    values = [one.value for _, one in known]
    low, high = ([v + sign * e for v, e in zip(values, errors, strict=True)] for sign in (-1, 1))
    return Series(label, tone, [x for x, _ in known], values, low, high)


def _estimates(label: str, tone: str, rows: Sequence[HeldOut], found: Sequence[Estimate | None]) -> Series:
    return estimates(label, tone, [row.step for row in rows], found)


def estimates(label: str, tone: str, steps: Sequence[float], found: Sequence[Estimate | None]) -> Series:
    """With a band of one standard error; gaps where there is none."""
    values = [math.nan if one is None else one.value for one in found]
    errors = [0.0 if one is None else one.standard_error or 0.0 for one in found]
    low, high = ([v + sign * e for v, e in zip(values, errors, strict=True)] for sign in (-1, 1))
    return Series(label, tone, steps, values, low, high)
