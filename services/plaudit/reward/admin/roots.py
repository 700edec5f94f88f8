"""Which folders may be loaded: those below the server's `model_roots`, wherever links lead."""

from collections.abc import Sequence
from pathlib import Path

from plaudit.errors import ConfigurationError
from plaudit.reward.errors import InvalidRequest
from plaudit.reward.sources import RECORD


class Roots:
    """Of one server."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises ConfigurationError where one is no folder."""
        for path in paths:
            if not path.is_dir():
                raise ConfigurationError(f"model_roots: {path} is no folder: make it, or name another one")
        self._roots = [path.resolve() for path in paths]

    def find(self, folder: str) -> Path:
        """The reward model's folder of that path, from a root or whole. Raises InvalidRequest.

        What lies outside is told of as what is not there: nobody learns what else the machine has.
        """
        found = next((path for root in self._roots if (path := self._below(root, folder))), None)
        if found is None:
            raise InvalidRequest("folder", f"no folder with a {RECORD} of this path below the server's model_roots")
        for file in found.iterdir():
            if self._inside(file) is None:
                raise InvalidRequest("folder", f"{file.name} leads out of the server's model_roots")
        return found

    def _below(self, root: Path, folder: str) -> Path | None:
        path = self._inside(root / folder)
        return path if path is not None and (path / RECORD).is_file() else None

    def _inside(self, path: Path) -> Path | None:
        """Where its links lead, or None where that is outside or nowhere."""
        try:
            found = path.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # not there, too long, a zero byte, links in a ring
            return None
        return found if any(found.is_relative_to(root) for root in self._roots) else None
