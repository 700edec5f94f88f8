"""From a run to what its page says: headline figures, samples side by side, time per phase."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plaudit.report import curves, summaries
from plaudit.report.best_of_n import BestOfN, best_of_n
from plaudit.report.charts import Chart
from plaudit.report.curves import Trained
from plaudit.report.estimates import Change, HeldOut, change, held_out
from plaudit.report.run_folder import Run, Sample, finite
from plaudit.report.summaries import Criterion, Share
from plaudit.report.waterfall import Waterfall, waterfalls
from plaudit.uncertainty import Estimate


@dataclass(frozen=True)
class Pair:
    """Responses to one held-out prompt before and after; `before` is None where only one step was sampled."""

    prompt: str
    before: Sample | None
    after: Sample

    @property
    def score_gain(self) -> float | None:
        return None if self.before is None else _difference(self.before.score, self.after.score)


@dataclass(frozen=True)
class Contents:
    """What the template shows; everything that a run may lack can be None or empty."""

    title: str
    subtitle: list[str]
    problems: list[str]
    score: Change | None
    gold: Change | None
    kl: float | None
    kl_held_out: Estimate | None
    kl_bound: float | None
    steps: int
    planned_steps: int | None
    episodes: int | None
    seconds: float | None
    hero: list[Chart]
    frontier: list[Chart]
    best_of_n: list[BestOfN]
    charts: list[Chart]
    held_out: list[HeldOut]
    phase_chart: Chart
    phases: list[Share]
    waterfalls: list[Waterfall]
    whole: list[Share]  # the summary's phases: the whole job, of which the PPO run is one
    pairs: list[Pair]
    prompts: int
    sampled_steps: list[int]
    facts: list[tuple[str, str]]
    criteria: list[Criterion]
    settings_text: str


def contents(run: Run, title: str = "", prompts: int = 24, beside: Sequence[Run] = ()) -> Contents:
    """`prompts`: how many held-out prompts are shown, the first in the file's order; `beside`: runs on its charts."""
    rows = held_out(run)
    baseline = best_of_n(run.start)
    pairs = side_by_side(run)
    return Contents(
        title=title or run.name,
        subtitle=_subtitle(run),
        problems=_problems(run),
        score=change(run, rows, "score"),
        gold=change(run, rows, "gold"),
        kl=_last(run, "kl"),
        kl_held_out=next((row.kl for row in reversed(rows) if row.kl is not None), None),
        kl_bound=finite(run.summary.get("kl_bound")),
        steps=len(run.steps),
        planned_steps=_planned(run),
        episodes=_episodes(run),
        seconds=_seconds(run),
        hero=[curves.score(run), curves.gain(run, rows)],
        frontier=_frontier(run, rows, beside, baseline),
        best_of_n=baseline,
        charts=[curves.kl(run, rows), *curves.services(run), *curves.small(run)],
        held_out=rows,
        phase_chart=curves.phases(run),
        phases=_phases(run),
        waterfalls=waterfalls(run.spans),
        whole=summaries.phases(run.summary),
        pairs=pairs[:prompts],
        prompts=len(pairs),
        sampled_steps=list(run.samples),
        facts=summaries.facts(run.summary),
        criteria=summaries.criteria(run.summary),
        settings_text=run.settings_text,
    )


def _frontier(run: Run, rows: Sequence[HeldOut], beside: Sequence[Run], baseline: Sequence[BestOfN]) -> list[Chart]:
    """Score against KL, and gold against KL where it is known; none of a run with nothing to compare."""
    if not beside and not baseline and len(rows) < 2:
        return []
    runs = [Trained(_algorithm(run), rows), *(Trained(other.name, held_out(other)) for other in beside)]
    titles = {"score": "Score against KL", "gold": "Gold against KL"}
    charts = [curves.frontier(measure, title, runs, baseline) for measure, title in titles.items()]
    return [chart for chart in charts if chart.curves]


def _algorithm(run: Run) -> str:
    """As its settings name it."""
    ppo = run.settings.get("ppo")
    advantages = ppo.get("advantages") if isinstance(ppo, dict) else None
    return {"rloo": "RLOO", "grpo": "GRPO"}.get(str(advantages), "PPO")


def side_by_side(run: Run) -> list[Pair]:
    """The last sampled step's prompts, each with the first response to it before and after."""
    if not run.samples:
        return []
    first, last = next(iter(run.samples)), next(reversed(run.samples))
    before = _first_responses(run.samples[first]) if first != last else {}
    after = _first_responses(run.samples[last])
    return [Pair(sample.prompt, before.get(prompt), sample) for prompt, sample in after.items()]


def _first_responses(samples: Sequence[Sample]) -> dict[str, Sample]:
    """By prompt, in the file's order."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.prompt_id, sample)
    return first


def _subtitle(run: Run) -> list[str]:
    """The policy and what judged it, where the settings name them."""
    policy, reward = run.settings.get("policy"), run.settings.get("reward")
    model = policy.get("model") if isinstance(policy, dict) else None
    judge = (reward.get("model") or reward.get("address")) if isinstance(reward, dict) else None
    seed = run.settings.get("seed")
    parts = [("policy", model), ("reward", judge), ("seed", seed)]
    return [f"{name} {value}" for name, value in parts if value is not None]


def _problems(run: Run) -> list[str]:
    planned = _planned(run)
    found = list(run.problems)
    if not run.steps:
        found.insert(0, "No training step was finished.")
    elif planned is not None and len(run.steps) < planned:
        found.insert(0, f"The run ended after {len(run.steps)} of {planned} steps.")
    return found + _not_finite(run)


def _not_finite(run: Run) -> list[str]:
    lines = []
    for name in dict.fromkeys(name for row in run.steps for name in row):
        steps = [int(row["step"]) for row in run.steps if not math.isfinite(row.get(name, 0.0))]
        if steps:
            times = "once" if len(steps) == 1 else f"{len(steps)} times"
            lines.append(f"{name} is not finite {times}, first at step {steps[0]}.")
    return lines


def _planned(run: Run) -> int | None:
    steps = finite(run.settings.get("steps"))
    return None if steps is None else int(steps)


def _last(run: Run, name: str) -> float | None:
    return next((row[name] for row in reversed(run.steps) if finite(row.get(name)) is not None), None)


def _episodes(run: Run) -> int | None:
    """Responses that were trained on: the batch of every step less those without a reward."""
    batch = finite(run.settings.get("batch_size"))
    if batch is None or not run.steps:
        return None
    return int(batch * len(run.steps) - sum(finite(row.get("missing_rewards")) or 0.0 for row in run.steps))


def _seconds(run: Run) -> float | None:
    """Time inside the steps: pauses of an interrupted run do not count."""
    spent = [row["seconds_step"] for row in run.steps if finite(row.get("seconds_step")) is not None]
    return math.fsum(spent) if spent else None


def _phases(run: Run) -> list[Share]:
    seconds = {n: math.fsum(curves.phase_seconds(row, n) for row in run.steps) for n in curves.PHASES}
    total = math.fsum(seconds.values())
    return [
        Share(curves.PHASES[name], f"phase-{name}", spent, spent / total, spent / len(run.steps))
        for name, spent in seconds.items()
        if spent > 0
    ]


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
