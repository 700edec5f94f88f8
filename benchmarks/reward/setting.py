"""What the benchmarks of a model share: the model, the server and the bare loop over it, and what they are told."""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import reward_model
from child import Child
from contenders.served import serving
from load import Load, run
from measure import arguments

from plaudit.reward.folder import NAME
from plaudit.telemetry.quiet import quiet_libraries

WINDOW = 64
"""Items of one window of the bare loop, and clients of the closed loop: what is there to be batched at any time."""


@dataclass(frozen=True)
class Turn:
    """One contender's measurement in one round."""

    items: int
    seconds: float
    cpu: float  # seconds of the contender's processes
    generator_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Scored items a second."""
        return self.items / self.seconds


@dataclass(frozen=True)
class Setting:
    """A model folder and how it is run."""

    folder: Path
    threads: int
    median: float  # words of an item
    server_settings: tuple[str, ...]

    @property
    def longest(self) -> int:
        """Tokens that the model reads of an item."""
        return int(json.loads((self.folder / NAME).read_text())["rendering"]["max_tokens"])

    @contextmanager
    def plaudit(self) -> Iterator[Child]:
        """The real server, warm."""
        with serving({"name": "model", "model": str(self.folder)}, self.threads, self.server_settings) as server:
            self.closed(server, seed=0, count=WINDOW)
            yield server

    @contextmanager
    def by_hand(self, contender: str, *more: str) -> Iterator[Child]:
        """A contender of contenders/ that is made of contenders/scorer.py."""
        given = ("{ready}", str(self.folder), str(self.longest), str(self.threads))
        with Child("-m", f"contenders.{contender}", *given, *more, threads=self.threads) as child:
            yield child

    def closed(self, server: Child, seed: int, count: int) -> Turn:
        """The closed loop of 64 clients with `count` requests of one item; http where the contender speaks that."""
        kind = server.says.get("kind", "grpc")
        before = server.cpu()
        outcome = run(
            Load(address=server.address, kind=kind, seed=seed, median=self.median, clients=WINDOW, count=count)
        )
        assert outcome.ok == count, outcome.counts()
        return Turn(count, outcome.seconds, server.cpu() - before, outcome.cpu)

    def loop(self, bare: Child, seed: int, count: int, budget: int) -> Turn:
        """The bare loop over the same items; a budget of 0: one by one."""
        told = bare.ask(do="score", seed=seed, count=count, median=self.median, budget=budget)
        return Turn(count, told["seconds"], told["cpu"])


def model_arguments(description: str | None, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """What a benchmark of a model can be told."""
    parser = arguments(description, rounds, seconds)
    parser.add_argument("--threads", type=int, default=1, help="of torch, for every contender; default 1")
    parser.add_argument("--median", type=float, default=32.0, help="words of an item in the median; default 32")
    parser.add_argument("--model", type=Path, help="a reward model's folder; default: a random MiniLM")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of plaudit serve")
    return parser


@contextmanager
def setting(parsed: argparse.Namespace) -> Iterator[Setting]:
    """Makes the model where none is given."""
    quiet_libraries()
    with ExitStack() as stack:
        folder = parsed.model
        if folder is None:
            folder = reward_model.make(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        yield Setting(folder, parsed.threads, parsed.median, tuple(parsed.set))
