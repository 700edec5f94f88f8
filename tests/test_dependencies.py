"""Whatever the code imports, `pyproject.toml` declares: nothing is there by the grace of another package."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = packages_distributions()
CLIENT = ("dependencies",)
BROUGHT = {"torch (clients/plaudit_client/openrlhf.py)"}
"""By the trainer that loads the file."""
SERVICES = (*CLIENT, "reward", "train", "tracing", "feedback")


def imported(room: str) -> Iterator[tuple[str, Path]]:
    """Top-level modules from elsewhere, and who imports them; functions' own imports too."""
    files = list((ROOT / room).rglob("*.py"))
    own = {"plaudit", "plaudit_client", "plaudit_protos", *(path.stem for path in files)}
    own |= {path.stem for path in (ROOT / "examples").rglob("*.py")}  # which benchmarks build on
    own |= {folder.name for path in files for folder in path.relative_to(ROOT / room).parents}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            modules = {name.partition(".")[0] for name in names}
            yield from ((name, path) for name in modules - own - sys.stdlib_module_names)


def declared(groups: tuple[str, ...]) -> set[str]:
    tables = {"dependencies": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    return {normal(re.match(r"[\w.-]+", line)[0]) for group in groups for line in tables[group]}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("room", "groups"),
    [
        ("protos", CLIENT),
        ("clients", CLIENT),
        ("services/plaudit/reward", (*CLIENT, "reward")),
        ("services/plaudit/feedback", (*CLIENT, "feedback")),
        ("services", SERVICES),
        ("examples", (*SERVICES, "dev")),
        ("benchmarks", (*SERVICES, "dev", "bench")),
    ],
)
def test_what_is_imported_is_declared(room: str, groups: tuple[str, ...]) -> None:
    found = declared(groups)
    missing = {
        f"{name} ({path.relative_to(ROOT)})"
        for name, path in imported(room)
        if not found & {normal(distribution) for distribution in DISTRIBUTIONS.get(name, [name])}
    }
    assert missing <= BROUGHT
