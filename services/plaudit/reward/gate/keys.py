"""API keys: 256 random bits each, known to the server as their SHA-256 alone.

A password needs a slow hash because it can be guessed; a key cannot, so that a fast one is as good.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from plaudit.errors import ConfigurationError
from plaudit.reward.gate.reloading import Reloaded
from plaudit.reward.gate.settings import KeySettings, KeysFile

PREFIX = "plaudit_"
"""So that scanners for lost secrets can tell one."""


def new_key() -> str:
    """Nobody has it but whoever is given it."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What the server keeps of it."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


class Keyring:
    """The keys of one file."""

    def __init__(self, keys: Sequence[KeySettings]) -> None:
        self._keys = keys

    def find(self, presented: str) -> KeySettings | None:
        """The key whose hash it has. All are compared, each in constant time: how long it takes says nothing."""
        digest, found = digest_of(presented), None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def read_keys(path: Path) -> Reloaded[Keyring]:
    """Raises ConfigurationError."""
    return Reloaded("keys", [path], lambda contents: Keyring(parse_keys(path, contents[0]).keys))


def parse_keys(path: Path, content: bytes) -> KeysFile:
    """Raises ConfigurationError. It quotes nothing of the file: what stands in the wrong place may be a key itself."""
    try:
        return TypeAdapter(KeysFile).validate_python(yaml.safe_load(content))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigurationError(f"{path}{f', line {mark.line + 1}' if mark else ''}: not YAML") from None
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in problems)
        raise ConfigurationError(f"{path}: {told}: `plaudit keys {path} add name=...` writes such a file") from None
