"""Rows of data: JSON lines, Parquet, a folder of those, or a `datasets` name. No code of a data set is ever run.

Every row knows where it came from, so that whoever finds a field missing can name the file and the line:

    for row in read_rows(DataSettings(source="preferences.jsonl.gz")):
        prompt = row.text("prompt")         # ConfigurationError: preferences.jsonl.gz:7: 'prompt' is missing
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError, first_line
from plaudit.settings import STRICT
from plaudit.trajectory import Message

T = TypeVar("T")

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
SPLIT_NAMES = {"train", "validation", "valid", "dev", "eval", "test"}
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataSettings:
    """Where rows come from."""

    source: str | list[str]  # files, folders or names of data sets; several are read one after the other
    split: str = "train"  # of a data set by name, and of a folder whose files are named after splits
    subset: str | None = None  # of a data set by name that has several
    limit: Annotated[int, Field(gt=0)] | None = None  # the first so many rows

    def __post_init__(self) -> None:
        if not self.sources or not all(self.sources):
            raise ValueError("is empty: give a file, a folder or the name of a data set")

    @property
    def sources(self) -> list[str]:
        return [self.source] if isinstance(self.source, str) else list(self.source)


class Row(dict[str, Any]):
    """One row, and the place it was read from."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        super().__init__(values)
        self.where = where  # "data/train.jsonl:12"

    def error(self, field: str, problem: str) -> ConfigurationError:
        """What to raise when a field of this row is wrong."""
        return ConfigurationError(f"{self.where}: '{field}' {problem}")

    def require(self, field: str, kind: type[T]) -> T:
        """The field's value; ConfigurationError when it is missing or of another type."""
        return self._check(field, self.get(field), kind)

    def text(self, field: str) -> str:
        """A field that is text, possibly empty."""
        return self._check_text(field, self.get(field))

    def number(self, field: str) -> float:
        """A field that is a finite number."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise self.error(field, f"must be a finite number, found {_shown(value)}")
        return float(value)

    def messages(self, field: str) -> tuple[Message, ...]:
        """A field that is a list of at least one {role, content}."""
        turns = self.require(field, list)
        if not turns:
            raise self.error(field, "is an empty list: a conversation has at least one message")
        return tuple(self._message(f"{field}[{index}]", turn) for index, turn in enumerate(turns))

    def prompt(self, field: str = "prompt") -> str | tuple[Message, ...]:
        """A field that is text, or a list of messages."""
        return self.messages(field) if isinstance(self.get(field), list) else self.text(field)

    def conversation(self, field: str) -> tuple[Message, ...]:
        """A field that is a list of messages, of which the last is the assistant's: the response."""
        turns = self.messages(field)
        if turns[-1].role != "assistant":
            raise self.error(field, f"ends with a message by '{turns[-1].role}': the last one must be the assistant's")
        return turns

    def _message(self, field: str, turn: Any) -> Message:
        turn = self._check(field, turn, dict)
        role = self._check_text(f"{field}.role", turn.get("role"))
        if role not in ROLES:
            raise self.error(f"{field}.role", f"is {_shown(role)}: known roles are {', '.join(ROLES)}")
        return Message(role, self._check_text(f"{field}.content", turn.get("content")))

    def _check(self, field: str, value: Any, kind: type[T]) -> T:
        if value is None:
            raise self.error(field, f"is missing (the row has {', '.join(self) or 'no fields'})")
        if not isinstance(value, kind):
            raise self.error(field, f"must be {_KINDS.get(kind, kind.__name__)}, found {_shown(value)}")
        return value

    def _check_text(self, field: str, value: Any) -> str:
        text = self._check(field, value, str)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self.error(field, "holds half of a surrogate pair, which no UTF-8 text may") from None
        return text


_KINDS: dict[type, str] = {str: "text", list: "a list", dict: "an object"}


def read_rows(data: DataSettings) -> list[Row]:
    """All rows of all sources, in order. ConfigurationError when there is none, or one that cannot be read."""
    rows = list(islice(chain.from_iterable(_read_source(source, data) for source in data.sources), data.limit))
    if not rows:
        raise ConfigurationError(f"no rows in {', '.join(data.sources)}: the data set is empty")
    return rows


def _read_source(source: str, data: DataSettings) -> Iterator[Row]:
    path = Path(source).expanduser()
    if path.is_dir():
        return chain.from_iterable(_read_file(file) for file in _files_of(path, data.split))
    if path.exists():
        return _read_file(path)
    if _looks_like_a_path(source):
        raise ConfigurationError(f"no file or folder {source}: check the path of the data")
    return _read_dataset(source, data)


def _looks_like_a_path(source: str) -> bool:
    """A data set's name is `name` or `owner/name`; anything else was meant as a path."""
    return source.endswith((*SUFFIXES, ".json", ".gz", ".csv")) or not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source)


def _files_of(folder: Path, split: str) -> list[Path]:
    """The folder's data files in the order of their names; only the split's, where any file is named after a split."""
    files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))
    if not files:
        raise ConfigurationError(f"folder {folder} has no data: expected files that end in {', '.join(SUFFIXES)}")
    words = {file: set(re.split(r"[^a-z0-9]+", file.name.lower())) for file in files}
    if not any(found & (SPLIT_NAMES | {split}) for found in words.values()):
        return files
    chosen = [file for file in files if split in words[file]]
    if not chosen:
        names = ", ".join(file.name for file in files)
        raise ConfigurationError(f"folder {folder} has no split '{split}': its files are {names}")
    return chosen


def _read_file(path: Path) -> Iterator[Row]:
    if path.name.endswith(".parquet"):
        return _read_parquet(path)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _read_json_lines(path)
    raise ConfigurationError(f"{path}: unknown kind of data file: expected a name that ends in {', '.join(SUFFIXES)}")


def _read_json_lines(path: Path) -> Iterator[Row]:
    """Split at newlines alone: JSON text may hold other line separators. Empty lines are skipped."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse_line(line, f"{path}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _parse_line(line: bytes, where: str) -> Row:
    try:
        values = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where}: not a line of JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where}: expected an object {{...}}, found {_shown(values)}")
    return Row(values, where)


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        batches = parquet.ParquetFile(path).iter_batches()
        rows = chain.from_iterable(batch.to_pylist() for batch in batches)
        for number, values in enumerate(rows, start=1):
            yield Row(values, f"{path}: row {number}")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read as Parquet: {first_line(error)}") from None


def _read_dataset(name: str, data: DataSettings) -> Iterator[Row]:
    """A data set by name, from the local cache or the hub; `datasets` reads its files and runs none of its code."""
    import datasets

    try:
        dataset = datasets.load_dataset(name, data.subset, split=data.split)
    except Exception as error:  # the hub's errors share no base class; each means that the name cannot be loaded
        remedy = "give a file that exists, or a data set that can be reached from here"
        raise ConfigurationError(
            f"no file '{name}', and no data set of that name: {remedy} ({first_line(error)})"
        ) from None
    for number, values in enumerate(dataset, start=1):
        yield Row(values, f"{name}[{data.split}]: row {number}")


def _shown(value: Any) -> str:
    """A value in an error: short enough to read, long enough to recognise."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
