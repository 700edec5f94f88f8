"""Whether what a program is to write can be written: asked before its long work, answered in one line."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plaudit.errors import ConfigurationError


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


def _try(folder: Path) -> None:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    tempfile.TemporaryFile(dir=nearest).close()
