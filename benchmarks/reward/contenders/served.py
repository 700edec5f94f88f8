"""The real server, `plaudit serve`, as its users start it."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from child import Child

RULE: dict[str, Any] = {"name": "rule", "rule": {"kind": "keyword", "word": "zebra", "case_sensitive": True}}
"""The cheapest model there is: does the response have this word?"""


@contextmanager
def settings_file(model: dict[str, Any], threads: int) -> Iterator[str]:
    """Of a server of this one model, on any free ports."""
    tree = {"models": [model], "address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "threads": threads}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.yaml"
        path.write_text(json.dumps(tree))  # JSON is YAML
        yield str(path)


@contextmanager
def serving(model: dict[str, Any], threads: int, settings: tuple[str, ...] = ()) -> Iterator[Child]:
    """`settings` are more `key=value` for the command line."""
    quiet = ("ready_file={ready}", "log_level=ERROR")
    with (
        settings_file(model, threads) as path,
        Child("-m", "plaudit.cli", "serve", path, *quiet, *settings, threads=threads) as server,
    ):
        yield server
