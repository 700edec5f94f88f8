"""`plaudit report RUN_FOLDER [title=... prompts=... beside=FOLDER,FOLDER]`: one page that a run leaves behind.

    run folder -> run_folder (read) -> estimates, curves (what it says) -> templates (how it looks) -> report.html

The page is one file without a script: styles and charts are inside it, a policy in its head forbids it to load or run
anything, and every text of a model or a data set is escaped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError
from plaudit.outputs import write_text, writing
from plaudit.report import charts, formatting, run_folder
from plaudit.report.contents import contents
from plaudit.settings import STRICT, parse
from plaudit.visible import visible

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportSettings:
    """What can be chosen about a page."""

    title: str = ""  # the folder's name where empty
    prompts: Annotated[int, Field(ge=0)] = 24  # held-out prompts whose responses are shown
    beside: str = ""  # other run folders, with commas between: on the charts against KL


DEFAULTS = ReportSettings()


def run(path: str, overrides: list[str]) -> int:
    """Writes the page and says where it is."""
    for override in overrides:
        if "=" not in override:
            raise ConfigurationError(f"override '{override}' is not of the form key=value, such as prompts=50")
    settings = parse(ReportSettings, dict(one.split("=", 1) for one in overrides), source="settings")
    folder = Path(path)
    found = run_folder.read(folder)
    print(_write(folder, found, settings))
    for problem in found.problems:
        print(f"plaudit report: {problem}", file=sys.stderr)
    return 0


def write(folder: Path, settings: ReportSettings = DEFAULTS) -> Path:
    """Writes `folder`/report.html, replacing an older one, and returns its path.

    Raises ConfigurationError when `folder` is no run folder, or cannot be written.
    """
    return _write(folder, run_folder.read(folder), settings)


def _write(folder: Path, found: run_folder.Run, settings: ReportSettings) -> Path:
    beside = [run_folder.read(Path(name.strip())) for name in settings.beside.split(",") if name.strip()]
    page = render(found, settings, beside)
    target = folder / "report.html"
    with writing("report", target):
        write_text(target, page)
    return target


def render(run: run_folder.Run, settings: ReportSettings = DEFAULTS, beside: Sequence[run_folder.Run] = ()) -> str:
    """The page as HTML."""
    return (
        environment()
        .get_template("page.html")
        .render(page=contents(run, settings.title, settings.prompts, beside), style=style(), geometry=charts)
    )


def environment(*folders: Path) -> Environment:
    """For templates of ours, and of `folders`: everything is escaped, what is missing is an error."""
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    for name in ("number", "fixed", "signed", "duration", "memory", "percent", "with_error", "error", "decimals"):
        made.filters[name] = getattr(formatting, name)
    return made


def style() -> Markup:
    """The style sheet of every page."""
    return Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
