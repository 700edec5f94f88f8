"""A model in a process of its own: this is the server's end, host.py the other one.

    server process                                  model process
    ModelProcess.forward(rows)  ───── rows ────►    ModelBackend.forward(rows)
                                ◄──── values ───

Python lets one thread run at a time, and torch asks for its turn at every operation of a forward. Beside the event loop
and the tokenizers forwards took a sixth longer, which at 70 % load doubled the median latency (docs/results.md). vLLM
keeps its engine apart for the same reason.

The two are one program and the pipe is theirs alone, so pickle is safe on it. The model process ends with the pipe,
however the server ended, as soon as the forward that it is at returns. When the model process ends first, the model is
lost for good, and the server ends too: whatever took it away, a whole new server is what can be trusted.
"""

import atexit
import multiprocessing
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from plaudit.errors import ConfigurationError
from plaudit.reward.batcher import Budget, OutOfMemory
from plaudit.reward.errors import DeviceLost

if TYPE_CHECKING:
    from plaudit.reward.backends.model import Ids
    from plaudit.reward.loading import Values

processes = multiprocessing.get_context("forkserver")
"""Forked from a process that has imported torch and done nothing else, so that it is imported once for all models."""
processes.set_forkserver_preload(["plaudit.reward.backends.ignore_signals", "plaudit.reward.backends.host"])


def prepare() -> None:
    """Lets torch be imported there while this process has something else to do. Returns at once."""
    forkserver.ensure_running()


class Order(NamedTuple):
    """What to load, and how."""

    folder: Path
    dtype: str
    device: str
    max_tokens: int
    threads: int  # of torch


class Reply(NamedTuple):
    """`value` is what was asked for, what is wrong with the folder, or the traceback of what the model raised."""

    kind: Literal["value", "no memory", "refused", "failed"]
    value: Any = None


class ModelFailed(Exception):
    """The model raised; the text, for the log, is its traceback."""


class ModelProcess:
    """What `ModelBackend` offers, from another process. One thread at a time may ask.

    Raises ConfigurationError where `ModelBackend` does. Ends with `close`, or with the block it is the context of.
    """

    def __init__(self, order: Order) -> None:
        self._pipe, theirs = processes.Pipe()
        self._process = processes.Process(target=_run, args=(theirs,))
        try:
            with theirs:
                self._process.start()
        except (EOFError, OSError):  # the process that it would have been forked from is gone
            self._pipe.close()
            raise DeviceLost from None
        atexit.register(self.close)  # before multiprocessing's own, which would wait for it
        try:
            self.vocabulary, self.self_test_tolerance = self._ask("load", order)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ModelProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forward(self, rows: "list[Ids]") -> "list[Values]":
        """See ModelBackend.forward. Raises OutOfMemory, ModelFailed and DeviceLost."""
        values: list[Values] = self._ask("forward", rows)
        return values

    def alone(self, row: Sequence[int]) -> "Values":
        """See ModelBackend.alone."""
        values: Values = self._ask("alone", list(row))
        return values

    def best_budget(self, max_tokens: int) -> Budget:
        """See ModelBackend.best_budget."""
        budget: Budget = self._ask("best_budget", max_tokens)
        return budget

    def lost(self) -> bool:
        """Whether the process has ended."""
        return not self._process.is_alive()

    def close(self) -> None:
        """Ends the process, whatever it is at: it has nothing to save."""
        atexit.unregister(self.close)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, what: str, given: object) -> Any:
        try:
            self._pipe.send((what, given))
            reply: Reply = self._pipe.recv()
        except (EOFError, OSError):
            raise DeviceLost from None
        match reply.kind:
            case "value":
                return reply.value
            case "no memory":
                raise OutOfMemory
            case "refused":
                raise ConfigurationError(reply.value)
            case "failed":
                raise ModelFailed(reply.value)


def _run(pipe: "Connection[Reply, Any]") -> None:
    """In the new process."""
    from plaudit.reward.backends import host

    host.main(pipe)
