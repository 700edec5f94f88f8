"""The real server, in a process that notes every call's deadline and every forward's beginning.

    python -m contenders.watched READY SETTINGS FOLDER SEED COUNT MEDIAN [KEY=VALUE ...]

Nothing in the server is changed: two methods are wrapped from outside, the one that takes a call's items in with their
deadline, and the model's forward. Items are known by their place in the texts that the seed stands for. Reads {}, and
answers with {"deadlines": {number: at}, "forwards": [[at, [number, ...]], ...]}, on time.monotonic's clock.
"""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from child import obey, take_output
from workload import pairs

from plaudit import cli
from plaudit.reward.backends.model import Ids
from plaudit.reward.backends.process import ModelProcess
from plaudit.reward.folder import read
from plaudit.reward.items import Answer, Deadline, Item, Text
from plaudit.reward.loading import load_tokenizer
from plaudit.reward.queued import QueuedModel
from plaudit.reward.rendering import render


class Watch:
    """What was seen."""

    def __init__(self, folder: Path, seed: int, count: int, median: float) -> None:
        self._texts = {pair: number for number, pair in enumerate(pairs(seed, count, median))}
        tokenizer, record = load_tokenizer(folder), read(folder)
        assert record is not None
        self._rows = {
            tuple(render(tokenizer, record.rendering, prompt, response).input_ids): number
            for (prompt, response), number in self._texts.items()
        }
        self._deadlines: dict[int, float | None] = {}
        self._forwards: list[tuple[float, list[Ids]]] = []

    @contextmanager
    def wrapped(self) -> Iterator[None]:
        """Around the two methods."""
        score, forward = QueuedModel.score, ModelProcess.forward

        async def noting_deadlines(model: Any, items: Sequence[Item], deadline: Deadline) -> Answer:
            for item in items:
                if isinstance(item.input, Text):
                    self._deadlines[self._texts[item.input.prompt, item.input.response]] = deadline.at
            return await score(model, items, deadline)

        def noting_forwards(backend: ModelProcess, rows: list[Ids]) -> Any:
            self._forwards.append((time.monotonic(), list(rows)))
            return forward(backend, rows)

        with (
            patch.object(QueuedModel, "score", noting_deadlines),
            patch.object(ModelProcess, "forward", noting_forwards),
        ):
            yield

    def seen(self, _: dict[str, Any]) -> dict[str, Any]:
        """The answer; the forwards of loading are left out."""
        known = [
            (at, [self._rows[tuple(row)] for row in rows if tuple(row) in self._rows]) for at, rows in self._forwards
        ]
        return {"deadlines": self._deadlines, "forwards": [(at, numbers) for at, numbers in known if numbers]}


def main() -> None:
    """Until it is told to stop."""
    ready, settings, folder, seed, count, median, *more = sys.argv[1:]
    output = take_output()
    watch = Watch(Path(folder), int(seed), int(count), float(median))
    threading.Thread(target=obey, args=(watch.seen, output), daemon=True).start()
    with watch.wrapped():
        sys.exit(cli.main(["serve", settings, f"ready_file={ready}", "log_level=ERROR", *more]))


if __name__ == "__main__":
    main()
