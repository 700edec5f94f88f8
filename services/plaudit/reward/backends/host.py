"""What runs in a model's process; process.py starts it and asks. Importing this imports torch."""

import contextlib
import traceback
from multiprocessing.connection import Connection
from typing import Any

import torch

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.model import ModelBackend
from plaudit.reward.backends.process import Order, Reply
from plaudit.reward.batcher import OutOfMemory
from plaudit.telemetry.quiet import quiet_libraries


class Host:
    """Does what is asked."""

    def answer(self, what: str, given: Any) -> Reply:
        """In any case: what goes wrong is an answer too."""
        try:
            return Reply("value", self.load(given) if what == "load" else getattr(self._backend, what)(given))
        except (OutOfMemory, torch.OutOfMemoryError):
            return Reply("no memory")
        except ConfigurationError as error:
            return Reply("refused", str(error))
        except Exception:
            return Reply("failed", traceback.format_exc())

    def load(self, order: Order) -> tuple[int, float]:
        """Comes first. Returns what the server asks of the model all the time: its vocabulary and tolerance."""
        quiet_libraries()
        torch.set_num_threads(order.threads)
        self._backend = ModelBackend(order.folder, dtype=order.dtype, device=order.device, max_tokens=order.max_tokens)
        return self._backend.vocabulary, self._backend.self_test_tolerance


def main(pipe: "Connection[Reply, Any]") -> None:
    """Until the server closes the pipe or is gone; signals are ignored as where it was forked (ignore_signals.py)."""
    host = Host()
    with pipe, contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(host.answer(*pipe.recv()))
