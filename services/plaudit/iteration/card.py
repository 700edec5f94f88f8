"""The policy of the last round, ready for whoever uses it: a Hugging Face folder whose README.md is its model card.

The card says on whose judgement the model stands: how many people said how much and how far they agreed, or which
labelling model; how well the reward models learnt it; what came of it, with standard errors; and what is not known.
People are counted; their names are in it only where the settings say so.
"""

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.iteration import rounds
from plaudit.iteration.judging import judgements_of, round_tasks
from plaudit.iteration.limits import known_limits
from plaudit.iteration.plan import Plan
from plaudit.iteration.rounds import KINDS, Round
from plaudit.outputs import whole_folder, writing
from plaudit.report.formatting import MISSING
from plaudit.settings import to_yaml
from plaudit.uncertainty import Estimate

TEMPLATES = Path(__file__).parent / "templates"
OF_THE_RUN = ("learner.safetensors", "critic.safetensors", "state.json", "digests.json")
"""Files of a checkpoint that go on with a run, and are none of the policy's."""


@dataclass(frozen=True)
class Card:
    """What the template tells."""

    title: str
    folder: str
    base: str
    fine_tuned: bool
    rounds: list[Round]  # that were judged
    all_rounds: list[Round]  # with the policy before the first
    judgements: int
    kinds: str
    people: int
    names: list[str]  # of people, where they are to be told
    models: list[dict[str, str]]  # labelling models
    noise: float
    measure: str
    prompts: int
    wins_by: str
    has_gold: bool
    limits: list[str]
    data: list[tuple[str, str]]
    template: str
    max_new_tokens: int
    temperature: float
    version: str
    settings: str


def write(plan: Plan) -> Path:
    """Copies the last round's policy into `policy/`, its card beside it, replacing an older one."""
    found = rounds.read(plan)
    source, target = Path(plan.policy(found[-1].number).model), plan.folder / "policy"
    with writing("policy", target), whole_folder(target) as partial:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns(*OF_THE_RUN), dirs_exist_ok=True)
        (partial / "README.md").write_text(render(plan, found), encoding="utf-8")
    return target


def render(plan: Plan, found: Sequence[Round]) -> str:
    """The card as Markdown."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # Markdown: nothing in it was written by a model
    environment.filters |= {"figure": _figure, "percent": _percent, "percents": _percents}
    text = environment.get_template("card.md").render(card=_card(plan, found), front=_front(plan).to_yaml().strip())
    return f"{text.strip()}\n"


def _front(plan: Plan) -> ModelCardData:
    """The head that the hub reads; of a base model that is a folder here it could not say where that is."""
    settings = plan.settings.card
    model = plan.settings.policy.model
    return ModelCardData(
        language=list(settings.language) or None,
        license=settings.license or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["plaudit", "rlhf", "ppo"],
        base_model=None if Path(model).expanduser().exists() else model,
    )


def _card(plan: Plan, found: Sequence[Round]) -> Card:
    settings, train, last = plan.settings, plan.train(1), found[-1]
    judged = [one for one in found if one.labelled is not None]
    labelled = [one.labelled for one in judged if one.labelled is not None]
    people = _people(plan, judged) if settings.label.model is None else []
    return Card(
        title=_title(plan),
        folder="policy",
        base=settings.policy.model,
        fine_tuned=settings.sft is not None,
        rounds=judged,
        all_rounds=list(found),
        judgements=sum(one.judgements for one in labelled),
        kinds=KINDS[settings.label.kind],
        people=len(people),
        names=people if settings.card.names else [],
        models=list({one.model["name"]: one.model for one in labelled if one.model is not None}.values()),
        noise=0.0 if settings.label.model is None else settings.label.model.noise,
        measure=_measure(judged),
        prompts=last.figures["prompts"],
        wins_by=last.figures["wins_by"],
        has_gold=last.figure("gold") is not None,
        limits=known_limits(found, len(people)),
        data=_data(plan),
        template=train.prompts.template,
        max_new_tokens=train.max_new_tokens,
        temperature=train.temperature,
        version=version("plaudit"),
        settings=to_yaml(plan.shown).strip(),
    )


def _measure(judged: Sequence[Round]) -> str:
    if any(one.fit for one in judged):
        return "R²"
    thumbs = any(one.base_accuracy for one in judged)
    return f"accuracy{' (of always saying what most said)' if thumbs else ''}, %"


def _title(plan: Plan) -> str:
    return " ".join((plan.settings.card.title or plan.folder.resolve().name).split())


def _people(plan: Plan, judged: Sequence[Round]) -> list[str]:
    """All who judged in any round, by name."""
    with closing(open_database(plan.database)) as database:
        said = [one for at in judged for one in judgements_of(Store(database), round_tasks(plan, at.number))]
    return sorted({one.person for one in said})


def _data(plan: Plan) -> list[tuple[str, str]]:
    settings, sft = plan.settings, plan.sft()
    sources = [
        ("demonstrations", sft.data if sft is not None else None),
        ("prompts whose responses were judged", settings.generate.prompts),
        ("prompts of PPO", plan.train(1).prompts.data),
        ("held-out prompts", settings.evaluate.prompts),
    ]
    return [(name, ", ".join(f"`{one}`" for one in data.sources)) for name, data in sources if data is not None]


def _figure(estimate: Estimate | None, places: int) -> str:
    return MISSING if estimate is None else format(estimate, f".{places}f")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _percents(estimate: Estimate | None) -> str:
    return _figure(None if estimate is None else estimate.scaled(100), 1)
