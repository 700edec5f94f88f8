"""A JSONL file that is whole or not there, written by a program that may be stopped and begun again.

.responses.jsonl.rows     while it is written: a line for each prompt, as they come
responses.jsonl           all rows in the prompts' order, once the last one is there
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from plaudit.outputs import json_line, write_rows

Row = dict[str, Any]


class RowFile:
    """Rows by place. A context manager; what another program, or one with other settings, began is begun anew."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest = path, digest
        self._partial = path.with_name(f".{path.name}.rows")
        self.rows: dict[int, list[Row]] = dict(self._begun())
        """From this run and those before it."""

    def __enter__(self) -> Self:
        lines: list[Row] = [{"place": place, "rows": rows} for place, rows in self.rows.items()]
        write_rows(self._partial, [{"digest": self._digest}, *lines])
        self._file = self._partial.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, place: int, rows: Sequence[Row]) -> None:
        """What is written outlives the process."""
        self.rows[place] = list(rows)
        self._file.write(json_line({"place": place, "rows": self.rows[place]}))
        self._file.flush()

    def finish(self) -> int:
        """All places are there: how many rows that are."""
        os.fsync(self._file.fileno())
        rows = [row for place in sorted(self.rows) for row in self.rows[place]]
        write_rows(self._path, rows)
        self._partial.unlink()
        return len(rows)

    def _begun(self) -> list[tuple[int, list[Row]]]:
        """The lines that are whole, where they are of the same settings."""
        if not self._partial.is_file():
            return []
        head, *lines = [found for line in self._partial.read_bytes().splitlines() if (found := _parsed(line))] or [{}]
        return [(line["place"], line["rows"]) for line in lines] if head.get("digest") == self._digest else []


def _parsed(line: bytes) -> dict[str, Any]:
    """Empty for a line that a killed process left unfinished."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
