"""`plaudit label settings.yaml [ACTION] [key=value ...]`: people's judgements, collected.

    action      its own keys              does
    (none)                                adds the settings' tasks and serves the labelling page until Ctrl-C
    terminal    person                    adds the settings' tasks, and asks that person in this terminal
    invite      person, role              prints a personal link; whoever had one has a new one
    add                                   adds the settings' tasks, while a page is served or not
    import      data; or label_studio,    takes in what people said elsewhere, each once
                prompt, answers, up, down
    export      form, path, flagged,      writes judgements as rows of data (see exporting.py)
                gold, weights
    report                                prints how far it is, and whom to believe (see summary.py)

All of them work on the database that the settings name; other keys replace the settings', such as database=URL.
"""

import asyncio
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError
from plaudit.feedback import exporting
from plaudit.feedback.database import open_database
from plaudit.feedback.label_studio import DOWN, UP, read_label_studio
from plaudit.feedback.reading import Judged, read_judged, read_tasks
from plaudit.feedback.records import Judgement
from plaudit.feedback.reliability import reliabilities
from plaudit.feedback.schema import Role
from plaudit.feedback.settings import LabelSettings
from plaudit.feedback.store import Store
from plaudit.feedback.summary import summarise
from plaudit.feedback.summary_report import as_text
from plaudit.outputs import check_ready_file, write_rows, writing
from plaudit.rows import DataSettings
from plaudit.settings import STRICT, load, of_arguments
from plaudit.telemetry import logs
from plaudit.telemetry.progress import bar

LOOKING = ("export", "report")
"""Actions that change nothing."""
OF_MANY = (exporting.Form.CONSENSUS, exporting.Form.SCALES)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Nothing:
    """An action without keys of its own."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PersonSettings:
    """Somebody by name."""

    person: str
    role: Role | None = None  # as it was; somebody new judges, and does no more


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImportSettings:
    """Rows of data, or Label Studio's JSON export and the fields of its tasks' data."""

    data: DataSettings | None = None
    label_studio: str | None = None
    prompt: str = "prompt"
    answers: tuple[str, ...] = ("response",)
    up: tuple[str, ...] = UP  # choices that are a thumb
    down: tuple[str, ...] = DOWN

    def __post_init__(self) -> None:
        if (self.data is None) == (self.label_studio is None):
            raise ValueError("give either data.source=FILE or label_studio=FILE")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExportSettings:
    """See exporting.py."""

    form: exporting.Form
    path: str
    flagged: bool = False
    gold: bool = False
    weights: bool = False  # each row counts in training as far as who judged can be relied on

    def __post_init__(self) -> None:
        if not self.path.endswith((".jsonl", ".json")):
            raise ValueError(f"path '{self.path}': what is written are JSON lines: give it the ending .jsonl")
        if self.weights and self.form in OF_MANY:
            raise ValueError(f"weights are of people, and a row of {self.form} is of several: leave one of them out")


def run(path: str, arguments: list[str]) -> int:
    """Returns the exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments and "=" not in arguments[0] else ("", arguments)
    if name not in ACTIONS:
        raise ConfigurationError(f"no action '{name}': {', '.join(filter(None, ACTIONS))}, or none to serve the page")
    if later := [one for one in rest if one in ACTIONS]:
        raise ConfigurationError(f"'{later[0]}': the action comes first: plaudit label {path} {later[0]} ...")
    action = ACTIONS[name]
    own = [field.name for field in dataclasses.fields(action.kind)]
    keys = [one for one in rest if _key(one) in own]
    known = {field.name for field in dataclasses.fields(LabelSettings)}
    if unknown := [_key(one) for one in rest if _key(one) not in {*own, *known}]:
        raise ConfigurationError(
            f"plaudit label {path} {name}: unknown key '{unknown[0]}': of this action are {', '.join(own) or 'none'}, "
            f"of the settings {', '.join(sorted(known))}"
        )
    settings = load(LabelSettings, path, [one for one in rest if one not in keys])
    told = of_arguments(action.kind, keys, source=f"plaudit label {path} {name}".rstrip())
    logs.configure(settings.log_level)
    database = open_database(settings.database, new=name not in LOOKING)
    try:
        store = Store(database, lease_s=60 * settings.lease_minutes, gold_every=settings.gold_every)
        return action.do(settings, store, told)
    finally:
        database.close()


def _key(override: str) -> str:
    return override.partition("=")[0].partition(".")[0]


def _serve(settings: LabelSettings, store: Store, _: Nothing) -> int:
    from plaudit.feedback.serving import serve

    if settings.ready_file:
        check_ready_file(Path(settings.ready_file))
    _add(settings, store, _)
    if not store.askable():
        print("nobody can sign in yet: plaudit label SETTINGS invite person=NAME role=admin", file=sys.stderr)
    return asyncio.run(serve(settings, store))


def _add(settings: LabelSettings, store: Store, _: Nothing) -> int:
    for source in settings.tasks:
        tasks = read_tasks(source.data, source.kind, wanted=source.wanted)
        added = store.add_tasks(tasks)
        print(f"{', '.join(source.data.sources)}: {len(tasks)} tasks, {added} of them new", file=sys.stderr)
    return 0


def _invite(settings: LabelSettings, store: Store, told: PersonSettings) -> int:
    """On standard output, for whoever passes it on; it is told once."""
    from plaudit.feedback.page.desk import link

    print(link(settings.url or f"http://{settings.address}", store.add_person(told.person, told.role)))
    return 0


def _terminal(settings: LabelSettings, store: Store, told: PersonSettings) -> int:
    from plaudit.feedback.terminal import judge_in_terminal

    _add(settings, store, Nothing())
    return judge_in_terminal(store, store.person(told.person), settings.instructions)


def _import(_: LabelSettings, store: Store, told: ImportSettings) -> int:
    said: list[Judged]
    if told.data is not None:
        said = list(read_judged(told.data))
    else:
        path, choices = Path(told.label_studio or ""), {"up": told.up, "down": told.down}
        said = list(read_label_studio(path, prompt=told.prompt, answers=told.answers, **choices))
    new = 0
    with bar("import", len(said)) as shown:
        for one in said:
            new += store.record(one.task, one.person, one.verdict)
            shown.advance()
    print(f"{len(said)} judgements, {new} of them new")
    return 0


def _export(_: LabelSettings, store: Store, told: ExportSettings) -> int:
    path = Path(told.path)
    with writing("path", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = list(_rows(list(store.judged()), told))
        write_rows(path, rows)
    print(f"{path}: {len(rows)} {told.form}")
    return 0


def _rows(judgements: list[Judgement], told: ExportSettings) -> Iterator[exporting.Row]:
    weights = None
    if told.weights:
        weights = exporting.reliability_weights(reliabilities(judgements))
    return exporting.export(judgements, told.form, flagged=told.flagged, gold=told.gold, weights=weights)


def _report(_: LabelSettings, store: Store, __: Nothing) -> int:
    print(as_text(summarise(store)), end="")
    return 0


class Action(NamedTuple):
    """What it is told, and what it does."""

    kind: type[Any]
    do: Callable[[LabelSettings, Store, Any], int]


ACTIONS = {
    "": Action(Nothing, _serve),
    "terminal": Action(PersonSettings, _terminal),
    "invite": Action(PersonSettings, _invite),
    "add": Action(Nothing, _add),
    "import": Action(ImportSettings, _import),
    "export": Action(ExportSettings, _export),
    "report": Action(Nothing, _report),
}
