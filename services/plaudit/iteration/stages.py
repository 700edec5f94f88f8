"""One thing after the other, each once: what is done is written down beside what it left, and not done again.

    round-1/ppo.yaml     what the program was asked to do
    round-1/ppo.done     {"seconds": 61.2, "ended_at": ...}, once it has ended well

A stage that was begun and not ended is done again from its beginning, but where its program goes on by itself.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from plaudit.iteration.processes import Programs
from plaudit.outputs import write_text
from plaudit.reward.settings import ServerSettings
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.settings import to_yaml


class Stages:
    """Of one run in one folder."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self._folder, self._programs = folder, programs
        self._console = Console(stderr=True)

    def done(self, path: Path) -> bool:
        """Whether the stage of this name has ended well."""
        return record(path).is_file()

    def program(self, command: str, path: Path, settings: object, *overrides: str, left: Path | None = None) -> None:
        """`plaudit COMMAND path.yaml`; what it `left` half way is removed before. Raises ProgramFailed."""

        def work() -> None:
            if left is not None:
                _remove(left)
            file = self._asked(path, settings)
            self._programs.run(f"plaudit {command} {file}", child(command, file, *overrides))

        self.work(path, work)

    def work(self, path: Path, do: Callable[[], None]) -> None:
        """Anything that is to be done once."""
        if self.done(path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._console.rule(f"[bold]{path.relative_to(self._folder)}", align="left")
        began = time.monotonic()
        do()
        spent = {"seconds": round(time.monotonic() - began, 3), "ended_at": round(time.time(), 3)}
        write_text(record(path), json.dumps(spent) + "\n")

    @contextmanager
    def served(self, path: Path, settings: ServerSettings) -> Iterator[RewardServerSettings]:
        """A reward server on any free port, for the length of a `with`; its log beside its settings."""
        file, ready = self._asked(path, settings), Path(str(settings.ready_file))
        log = path.with_suffix(".log")
        program = self._programs.serve(f"plaudit serve {file}", child("serve", file), log, ready)
        try:
            yield RewardServerSettings(address=json.loads(ready.read_text(encoding="utf-8"))["address"])
        finally:
            self._programs.end(program)

    def _asked(self, path: Path, settings: Any) -> Path:
        file = path.with_suffix(".yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, to_yaml(settings))
        return file


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def record(path: Path) -> Path:
    """Where it is written down that a stage has ended."""
    return path.with_suffix(".done")


def seconds(path: Path) -> float | None:
    """That a stage took; None of one that has not ended."""
    try:
        return float(json.loads(record(path).read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError):
        return None


def child(command: str, file: Path, *overrides: str) -> list[str]:
    """The command line of one of our programs, which ends when this process does."""
    return [sys.executable, "-m", "plaudit.iteration.child", str(os.getpid()), command, str(file), *overrides]
