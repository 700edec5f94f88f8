"""What programs write: whether it can be written, asked before their long work; then whole or not at all."""

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from plaudit.errors import ConfigurationError, DependencyUnreachable

LOCK = ".lock"
"""In a run folder, held while a process works there."""


@contextmanager
def writing(key: str, path: Path) -> Iterator[None]:
    """Turns what the system says against writing `path` into a ConfigurationError that names the setting `key`."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{key} {path} cannot be written ({error.strerror}): make it writable, or choose another place"
        ) from None


def check_folder(key: str, folder: Path) -> None:
    """Raises unless files can be written into `folder`, or into the nearest folder above it that there is."""
    with writing(key, folder):
        _try(folder)


def check_file(key: str, path: Path) -> None:
    """Raises unless a file can be written at `path`, whose folders need not be there yet."""
    with writing(key, path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _try(path.parent)


def check_ready_file(path: Path) -> None:
    """Raises unless a service can tell there that it is ready: whoever looks for the file has made its folder."""
    if not path.parent.is_dir():
        raise ConfigurationError(f"ready_file {path}: no folder {path.parent}: make it, or choose another place")
    check_file("ready_file", path)


def lock_folder(folder: Path) -> TextIO:
    """Holds the run folder until it is closed. Raises DependencyUnreachable where another process has it."""
    with writing("folder", folder):
        file = (folder / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise DependencyUnreachable(
            f"another process is at work in {folder}: wait until it has ended, or give this run a folder of its own "
            "(folder=...)"
        ) from None
    return file


def json_line(row: Mapping[str, Any]) -> str:
    """One line of a JSONL file, readable in every script."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSONL file, whole or not at all."""
    write_text(path, "".join(map(json_line, rows)))


def write_text(path: Path, text: str) -> None:
    """Whole or not at all: it is on the disk under another name before it replaces what was there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A sibling to write into: once all of it is on the disk it replaces `folder`, which an error leaves as it was."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        _sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """A new name in a folder outlives a power cut only once the folder itself is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try(folder: Path) -> None:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    tempfile.TemporaryFile(dir=nearest).close()
