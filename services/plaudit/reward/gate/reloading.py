"""Values of files, read again when the files change: keys and certificates change while the server runs.

What cannot be read leaves the old value where it was, and is told. Contents are compared, not times: a Secret's volume
swaps links, an editor may keep the time, and the files are small.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from plaudit.errors import ConfigurationError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Reloaded(Generic[T]):
    """`value` is what `parse` made of the files' bytes when they were last in order."""

    def __init__(self, name: str, paths: Sequence[Path], parse: Callable[[Sequence[bytes]], T]) -> None:
        """Raises ConfigurationError."""
        self._name, self._paths, self._parse = name, paths, parse
        self._seen: list[bytes] | None = self._read()
        self.value = parse(self._seen)
        self.broken = False
        """True while the files hold something else than `value` says."""

    def look(self) -> None:
        """Reads the files again. It may wait for a disk: not on the event loop."""
        found = self._contents()
        if found is not None and found == self._seen:
            return
        try:
            value = self._parse(self._read() if found is None else found)
            if self._contents() != found:
                return  # they change just now: one file is new and the other is not
        except Exception as error:  # whatever a file may bring about, looking goes on
            self._keep(found, str(error) if isinstance(error, ConfigurationError) else type(error).__name__)
            return
        self._seen, self.value, self.broken = found, value, False
        log.info("%s: read again", self._name)

    def _keep(self, found: list[bytes] | None, problem: str) -> None:
        if not (self.broken and found == self._seen):  # said once
            log.error("%s: what was read before stays in force", self._name, extra={"problem": problem})
        self._seen, self.broken = found, True

    def _contents(self) -> list[bytes] | None:
        try:
            return self._read()
        except ConfigurationError:
            return None

    def _read(self) -> list[bytes]:
        return [_bytes_of(self._name, path) for path in self._paths]


def _bytes_of(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        made = "make one with `plaudit keys FILE add name=...`" if name == "keys" else "name the file that is meant"
        remedy = made if isinstance(error, FileNotFoundError) else "make it readable"
        raise ConfigurationError(f"{name}: {path} cannot be read ({error.strerror}): {remedy}") from None
