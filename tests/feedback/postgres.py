"""A PostgreSQL of one's own: Debian's package, a folder, a socket in it, no network."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER = "postgres"
"""It does not run as root."""


def programs() -> Path | None:
    """Debian has them in a folder of the version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def postgresql() -> Iterator[str]:
    """Its URL."""
    bin = programs()
    assert bin is not None
    folder = Path(tempfile.mkdtemp(prefix="plaudit-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, OWNER)
    url = f"postgresql://plaudit@/postgres?host={folder}"
    _run(bin / "initdb", "-D", folder / "data", "--auth=trust", "--username=plaudit", "--no-sync", "--encoding=UTF8")
    try:
        start(url)
        yield url
    finally:
        stop(url)
        shutil.rmtree(folder)


def start(url: str) -> None:
    """Again, after `stop`."""
    folder = _folder(url)
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c max_connections=120"
    _control(folder, "-l", folder / "log", "-o", options, "start")


def stop(url: str) -> None:
    """As a crash does."""
    _control(_folder(url), "-m", "immediate", "stop")


def _folder(url: str) -> Path:
    return Path(url.partition("host=")[2])


def _control(folder: Path, *command: object) -> None:
    bin = programs()
    assert bin is not None
    _run(bin / "pg_ctl", "-D", folder / "data", "-w", *command)


def _run(*command: object) -> None:
    user = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*user, *map(str, command)], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
