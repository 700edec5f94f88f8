"""The file `plaudit score` writes: one JSON object a row, written as results come, so that a run can be taken up again.

    {"row": 0, "id": "a", "digest": "…", "score": 0.4, "raw_score": 0.4, "input_tokens": 17, "truncated": false,
     "truncated_tokens": 0, "model": {"name": "models/helpful/versions/1", "weights_sha256": "…", …}}
    {"row": 1, "id": "b", "digest": "…", "error": {"reason": "INPUT_TOO_LONG", "message": "…", "code": "…"}}

A row that failed has no "score": it is tried again when the run is taken up.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from plaudit.errors import ConfigurationError
from plaudit.outputs import json_line, write_rows
from plaudit_client import Provenance, Score, ScoreFailure, ScoreItem

START = '{"row": '


class ScoreFile:
    """Scores of `items`, on disk after every `add`. A context manager: leaving it puts the lines in the rows' order."""

    def __init__(self, path: Path, items: Sequence[ScoreItem], model: Provenance) -> None:
        """Takes up what `path` holds already.

        Raises ConfigurationError when that is no score file, or one of other rows or another model.
        """
        self._path, self._items = path, items
        self.lines = {line["row"]: line for line in _read(path) if "score" in line}
        """By row, from this run and those before it."""
        for line in self.lines.values():
            self._check(line, asdict(model))
        write_rows(path, self._in_order())
        self._file = path.open("a", encoding="utf-8")

    def missing(self) -> list[int]:
        """Rows without a score, in order."""
        return [row for row in range(len(self._items)) if row not in self.lines]

    def add(self, row: int, result: Score | ScoreFailure) -> None:
        """Writes one row's result."""
        head = {"row": row, "id": result.item_id, "digest": _digest(self._items[row])}
        self.lines[row] = head | (_scored(result) if isinstance(result, Score) else _failed(result))
        self._file.write(json_line(self.lines[row]))

    def flush(self) -> None:
        """Hands what was added to the operating system."""
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        write_rows(self._path, self._in_order())

    def _check(self, line: dict[str, Any], model: dict[str, Any]) -> None:
        row = line["row"]
        if row >= len(self._items) or line.get("digest") != _digest(self._items[row]):
            raise ConfigurationError(f"{self._path} holds scores of other rows: give another `output`, or delete it")
        if line.get("model") != model:
            raise ConfigurationError(
                f"{self._path} holds scores by {line.get('model', {}).get('name')}, not as {model['name']} is served "
                "now: give another `output`, or delete it"
            )

    def _in_order(self) -> list[dict[str, Any]]:
        return [self.lines[row] for row in sorted(self.lines)]


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines; the last one may be cut where a run was killed."""
    if not path.exists():
        return []
    *lines, cut = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if not cut.startswith(START[: len(cut)]):
        lines.append(cut)
    return [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    if not (isinstance(parsed, dict) and isinstance(parsed.get("row"), int)):
        raise ConfigurationError(f"{where} was not written by `plaudit score`: give another `output`")
    return parsed


def _digest(item: ScoreItem) -> str:
    """Tells whether a row is still the one that was scored."""
    return hashlib.sha256(json.dumps(asdict(item)).encode()).hexdigest()[:16]


def _scored(score: Score) -> dict[str, Any]:
    return {
        "score": score.value,
        "raw_score": score.raw,
        "input_tokens": score.input_tokens,
        "truncated": score.truncated,
        "truncated_tokens": score.truncated_tokens,
        "model": asdict(score.model),
    }


def _failed(failure: ScoreFailure) -> dict[str, Any]:
    return {"error": {"reason": failure.reason, "message": failure.message, "code": failure.code}}
