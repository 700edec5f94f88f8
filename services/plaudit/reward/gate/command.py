"""`plaudit keys FILE ACTION [key=value ...]`: the file of API keys that `plaudit serve` goes by, settings `keys`.

    action    its own keys                does
    add       name, scopes, quota         makes a key, prints it once, and keeps its SHA-256 in the file
    remove    name, but_newest            the keys of that name; a server that is running has forgotten them in a second

A key is replaced without a gap: add another of the same name, give it out, then `remove name=... but_newest=true`.
"""

import sys
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError
from plaudit.outputs import write_text, writing
from plaudit.reward.gate.keys import digest_of, new_key, parse_keys
from plaudit.reward.gate.settings import KeySettings, KeysFile, QuotaSettings, Scope
from plaudit.settings import STRICT, of_arguments


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AddSettings:
    """See KeySettings."""

    name: str
    scopes: tuple[Scope, ...] = ("score",)
    quota: QuotaSettings | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RemoveSettings:
    """Which."""

    name: str
    but_newest: bool = False  # the one that was added last stays


def run(path: str, arguments: list[str]) -> int:
    """Returns the exit code."""
    action, *rest = arguments or [""]
    file, source = Path(path), f"plaudit keys {path} {action}"
    if action == "add":
        _add(file, of_arguments(AddSettings, rest, source), source)
    elif action == "remove":
        _remove(file, of_arguments(RemoveSettings, rest, source))
    else:
        raise ConfigurationError(f"no action '{action}': add or remove, then name=...")
    return 0


def _add(file: Path, asked: AddSettings, source: str) -> None:
    key = new_key()
    known = _read(file).keys if file.exists() else ()
    try:
        scopes = frozenset(asked.scopes)
        added = KeySettings(name=asked.name, sha256=digest_of(key), scopes=scopes, quota=asked.quota)
        _write(file, KeysFile(keys=(*known, added)))
    except ValidationError as error:
        problems = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
        raise ConfigurationError(f"{source}: {problems}") from None
    print(key)
    print(f"{file} has its SHA-256 alone: this is the only time that it is shown", file=sys.stderr)


def _remove(file: Path, asked: RemoveSettings) -> None:
    known = _read(file).keys
    of_name = [key for key in known if key.name == asked.name]
    if not of_name:
        raise ConfigurationError(f"{file} has no key named '{asked.name}'")
    gone = of_name[:-1] if asked.but_newest else of_name
    _write(file, KeysFile(keys=tuple(key for key in known if key not in gone)))
    print(f"{file}: {len(gone)} removed, {len(of_name) - len(gone)} left of {asked.name}", file=sys.stderr)


def _read(file: Path) -> KeysFile:
    try:
        return parse_keys(file, file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror})") from None


def _write(file: Path, keys: KeysFile) -> None:
    plain = TypeAdapter(KeysFile).dump_python(keys, mode="json", exclude_none=True)
    with writing("keys", file):
        write_text(file, yaml.safe_dump(plain, sort_keys=False))
