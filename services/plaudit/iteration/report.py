"""One page over all rounds, in the folder of the whole: what every round brought, and on whose judgement.

    round folders -> rounds (read) -> figures, charts, samples -> templates/rounds.html -> report.html

As every report of ours it is one file without a script, and what models wrote is escaped (plaudit.report.page).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plaudit.iteration import curves, rounds
from plaudit.iteration.plan import Plan
from plaudit.iteration.rounds import Round
from plaudit.outputs import write_text, writing
from plaudit.report import charts, page
from plaudit.report.charts import Chart
from plaudit.report.estimates import Change
from plaudit.report.run_folder import Sample
from plaudit.settings import to_yaml
from plaudit.uncertainty import Estimate

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 12
"""Held-out prompts whose responses are shown."""


@dataclass(frozen=True)
class Answered:
    """A held-out prompt and what every round's policy says to it."""

    prompt: str
    responses: list[tuple[int, Sample]]


@dataclass(frozen=True)
class Contents:
    """What the template shows."""

    title: str
    subtitle: list[str]
    rounds: list[Round]
    gold: Change | None
    wins: Estimate | None
    wins_by: str
    kl: Estimate | None
    charts: list[Chart]
    answered: list[Answered]
    prompts: int
    stages: tuple[str, ...]
    settings_text: str


def write(plan: Plan) -> Path:
    """Writes `report.html`, replacing an older one, and returns its path."""
    target = plan.folder / "report.html"
    with writing("report", target):
        write_text(target, render(plan, rounds.read(plan)))
    return target


def render(plan: Plan, found: Sequence[Round]) -> str:
    """The page as HTML."""
    template = page.environment(TEMPLATES).get_template("rounds.html")
    return template.render(page=contents(plan, found), style=page.style(), geometry=charts)


def contents(plan: Plan, found: Sequence[Round]) -> Contents:
    """`found` has the first policy's figures at least."""
    last, answered = found[-1], list(_answered(found))
    return Contents(
        title=plan.settings.card.title or plan.folder.resolve().name,
        subtitle=_subtitle(plan, found),
        rounds=list(found),
        gold=_change(found, "gold"),
        wins=last.figure("wins.first"),
        wins_by=last.figures["wins_by"],
        kl=last.figure("kl"),
        charts=curves.draw(found),
        answered=answered[:SHOWN],
        prompts=len(answered),
        stages=rounds.STAGES,
        settings_text=to_yaml(plan.shown),
    )


def _subtitle(plan: Plan, found: Sequence[Round]) -> list[str]:
    settings, done = plan.settings, len(found) - 1
    judge = "people" if settings.label.model is None else f"the labelling model {settings.label.model.model}".rstrip()
    planned = f"{settings.rounds} round{'' if settings.rounds == 1 else 's'}"
    whole = planned if done == settings.rounds else f"{done} of {planned}"
    return [whole, f"from {settings.policy.model}", f"judged by {judge}", f"seed {settings.seed}"]


def _change(found: Sequence[Round], name: str) -> Change | None:
    last = found[-1]
    if last.figure(name) is None:
        return None
    return Change(found[0].figure(name), last.figure(name), last.figure(f"{name}_gain.first"))


def _answered(found: Sequence[Round]) -> Iterator[Answered]:
    """In the file's order, the first response of each round."""
    firsts = [(one.number, _first_responses(one.samples)) for one in found]
    for prompt, sample in firsts[0][1].items():
        yield Answered(sample.prompt, [(number, first[prompt]) for number, first in firsts if prompt in first])


def _first_responses(samples: Sequence[Sample]) -> dict[str, Sample]:
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.prompt_id, sample)
    return first
