"""Settings: frozen dataclasses beside their owners, read from one YAML file plus `key=value` overrides.

A key that does not exist, a value of the wrong type or out of range ends in one `ConfigurationError` that names the
key, the value and the remedy.
"""

import dataclasses
import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from plaudit.errors import ConfigurationError

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""For `@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)`: unknown keys are errors."""

S = TypeVar("S")


def load(kind: type[S], path: Path | str, overrides: list[str] | None = None) -> S:
    """Reads `path` (YAML) into `kind`, after applying overrides such as `ppo.learning_rate=1e-5`."""
    return parse(kind, _overridden(_read_yaml(Path(path)), overrides or []), source=str(path))


def of_arguments(kind: type[S], overrides: list[str], source: str) -> S:
    """Of `key=value` alone."""
    return parse(kind, _overridden({}, overrides), source)


def parse(kind: type[S], tree: dict[str, Any], source: str) -> S:
    """Checks `tree` against `kind`; `source` names where it came from in the error."""
    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        found = error.errors()
        # A list counts only what is right in it, so a wrong entry makes it "too short" as well: that says nothing new.
        inner = {problem["loc"][:depth] for problem in found for depth in range(len(problem["loc"]))}
        problems = "; ".join(_describe(kind, problem) for problem in found if problem["loc"] not in inner)
        raise ConfigurationError(f"{source}: {problems}") from None


def to_yaml(value: Any) -> str:
    """The settings, every default filled in, as YAML that `load` reads back to the same value."""
    plain = TypeAdapter(type(value)).dump_python(value, mode="json")
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def difference(before: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first setting that differs, what it was and what it is; None where there is none."""
    if not (isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys()):
        return None if before == now else (name, before, now)
    inside = (difference(before[key], now[key], f"{name}.{key}" if name else key) for key in now)
    return next((found for found in inside if found is not None), None)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise ConfigurationError(
                f"no settings file {path}: give the path of a YAML file (examples/ has one per program)"
            )
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): make it readable") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{path}: expected 'key: value' lines at the top, found {type(tree).__name__}")
    return tree


def _overridden(tree: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    for override in overrides:
        _apply(tree, override)
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Sets one dotted key in place; the value is read as YAML, so numbers, lists and null work."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigurationError(f"override '{override}' is not of the form key=value, such as ppo.learning_rate=1e-5")
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(tree.get(parent), dict):
            tree[parent] = {}
        tree = tree[parent]
    try:
        tree[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        tree[last] = text


def _describe(kind: type, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key '{key}'{_suggestion(kind, problem['loc'])}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"key '{key}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"'{key}' is {problem['input']!r}: {message}" if key else message


def _suggestion(kind: type, location: tuple[Any, ...]) -> str:
    """The known key that is closest to an unknown one, looked up beside it."""
    names = _field_names(kind, list(location[:-1]))
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known here: {', '.join(sorted(names))})" if names else ""


def _field_names(kind: type, parents: list[Any]) -> list[str]:
    for parent in parents:
        field = (
            {f.name: f for f in dataclasses.fields(kind)}.get(str(parent)) if dataclasses.is_dataclass(kind) else None
        )
        if field is None or not isinstance(field.type, type):
            return []
        kind = field.type
    return [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
