"""A round's tasks and what was said of them: into the store, and, once enough is there, out as rows to learn from.

    tasks.jsonl -> store -> people at `plaudit label`, or a labelling model -> judged.jsonl    to learn from
                                                                               held_out.jsonl  to measure with
                                                                               judged.json     who, how many, how alike

A prompt is held out by a digest of itself: in later rounds it is again, so that no reward model has learnt from what it
is measured on. Where a round has so few that none is, one is that was not learnt from before, and it stays held out.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from plaudit.errors import DependencyUnreachable, RunFailed, first_line
from plaudit.feedback.agreement import agreements
from plaudit.feedback.database import open_database, without_password
from plaudit.feedback.exporting import Form, export
from plaudit.feedback.reading import read_tasks
from plaudit.feedback.records import Judgement
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Kind, Task
from plaudit.iteration.labelling import MODELS, label
from plaudit.iteration.plan import HELD_OUT, JUDGED, SAID, TASKS, Plan
from plaudit.outputs import write_rows, write_text
from plaudit.rows import DataSettings, read_rows
from plaudit.telemetry.progress import bar
from plaudit.trajectory import Message

LOOK_SECONDS = 2.0
"""Between two looks at whether people have judged."""
FORMS = {
    "bradley_terry": Form.PREFERENCES,
    "k_wise": Form.RANKINGS,
    "squared_error": Form.RATINGS,
    "binary_cross_entropy": Form.THUMBS,
}
"""What each loss of a reward model reads."""
Prompt = str | tuple[Message, ...]


@dataclass(frozen=True)
class Before:
    """Prompts of earlier rounds."""

    learnt: frozenset[Prompt] = frozenset()
    held_out: frozenset[Prompt] = frozenset()


def judge(plan: Plan, number: int) -> None:
    """Adds a round's tasks, waits until they are judged, and writes what was said. Raises as the labelling model."""
    settings = plan.settings.label
    tasks = round_tasks(plan, number)
    with closing(open_database(plan.database)) as database:
        store = Store(database)
        store.add_tasks(tasks)
        model: dict[str, Any] | None = None
        if settings.model is None:
            print(f"people judge at: plaudit label SETTINGS tasks=[] database={without_password(plan.database)}")
            _wait(store, tasks, settings.enough)
        else:
            found = label(store, tasks, settings.model, plan.settings.seed)
            model = {"name": found.name, "weights_sha256": found.provenance.weights_sha256}
        said = judgements_of(store, tasks)
    _write(plan, number, said, {"tasks": len(tasks), "model": model, **summary(said)})


def round_tasks(plan: Plan, number: int) -> list[Task]:
    """Their keys name run and round; by their keys some are judged by several, the others by one."""
    data, label = DataSettings(source=str(plan.round(number) / TASKS)), plan.settings.label
    read = read_tasks(data, Kind(label.kind), wanted=label.wanted)
    named = (replace(task, key=f"{plan.key(number)}/{task.key}") for task in read)
    return [task if _draw(task.key, plan.settings.seed) < label.shared else replace(task, wanted=1) for task in named]


def judgements_of(store: Store, tasks: Sequence[Task]) -> list[Judgement]:
    """All that stands."""
    return list(store.judged(task.key for task in tasks))


def summary(said: Sequence[Judgement]) -> dict[str, Any]:
    """Who judged, in numbers, and how alike."""
    people = {one.person for one in said if not one.person.startswith(MODELS)}
    return {
        "judgements": len(said),
        "people": len(people),
        "flagged": sum(one.flagged for one in said),
        "agreement": {str(kind): asdict(found) for kind, found in agreements(said).items()},
    }


def held_out_prompts(prompts: Iterable[Prompt], fraction: float, seed: int, before: Before) -> set[Prompt]:
    """About that part of them, and those that were held out before; of few at least one, if there is one not learnt."""
    draws = {prompt: _draw(prompt, seed) for prompt in prompts}
    found = {prompt for prompt, drawn in draws.items() if drawn <= fraction or prompt in before.held_out}
    fresh = draws.keys() - before.learnt
    return found or ({min(fresh, key=draws.__getitem__)} if fresh else set())


def read_before(plan: Plan, number: int) -> Before:
    """Of the rounds before that one."""
    learnt, held_out = ([plan.round(one) / name for one in range(1, number)] for name in (JUDGED, HELD_OUT))
    return Before(_prompts(learnt), _prompts(held_out))


def _prompts(files: Sequence[Path]) -> frozenset[Prompt]:
    if not any(file.stat().st_size for file in files):
        return frozenset()
    return frozenset(row.prompt() for row in read_rows(DataSettings(source=list(map(str, files)))))


def _draw(thing: Any, seed: int) -> float:
    """0 to 1, by nothing else."""
    digest = hashlib.sha256(json.dumps([seed, thing]).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _wait(store: Store, tasks: Sequence[Task], enough: float) -> None:
    """As long as it takes: people come and go, and so may this program."""
    keys, total = [task.key for task in tasks], sum(task.wanted for task in tasks)
    try:
        missing = store.missing(keys)
        with bar("judgements", total, done=total - missing) as shown:
            while total - missing < enough * total:
                shown.note(waiting_for(store.nobody_left(keys)))
                time.sleep(LOOK_SECONDS)
                missing = store.missing(keys)
                shown.advance(total - missing - shown.done)
    except OperationalError as error:
        raise DependencyUnreachable(
            f"the database of judgements ({first_line(error.orig or error)}): when it is back, the same command goes on"
        ) from None


def waiting_for(nobody_left: int) -> str:
    """What is shown: of some tasks nothing more may come unless somebody else is invited."""
    told = f"; for {nobody_left} nobody is left to ask: invite somebody, or lower label.enough" if nobody_left else ""
    return f"waiting for people{told}"


def _write(plan: Plan, number: int, said: Sequence[Judgement], told: dict[str, Any]) -> None:
    folder, fraction, before = plan.round(number), plan.settings.label.held_out, read_before(plan, number)
    prompts = (one.task.prompt for one in said)
    held_out = held_out_prompts(prompts, fraction, plan.settings.seed, before) if fraction else set()
    form = FORMS[plan.reward_model(number).loss]
    learnt = _rows((one for one in said if one.task.prompt not in held_out), form, folder / JUDGED)
    measured = _rows((one for one in said if one.task.prompt in held_out), form, folder / HELD_OUT)
    if not learnt or (fraction and not measured and not before.held_out):
        raise RunFailed(
            f"{folder.name}: {len(said)} judgements leave nothing to {'measure with' if learnt else 'learn from'}: "
            "give more prompts (generate.count)"
        )
    told |= {"rows": learnt, "rows_held_out": measured}
    write_text(folder / SAID, json.dumps(told, indent=1) + "\n")


def _rows(said: Iterable[Judgement], form: Form, path: Path) -> int:
    rows = list(export(said, form))
    write_rows(path, rows)
    return len(rows)
