"""What the examples that run several programs share: one folder, phases in order, and an end without remains.

An example is a class with a `run` and a `name`; `main` reads its command line:

    python examples/NAME/run.py [--seed 0] [--folder runs/NAME] [--until PHASE] [key=value ...]

`key=value` overrides the settings of its PPO run; with --until it ends when that phase is done.
"""

import argparse
import json
import os
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from processes import ProgramFailed, Programs
from rich.console import Console

EXAMPLES = Path(__file__).parents[1]
WORLD = EXAMPLES / "demo"
PLAUDIT = (sys.executable, "-m", "plaudit.cli")
ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    # One thread per program: at this size a second one gains a third on an idle machine, and doubles the time on a
    # busy one.
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
}


class FarEnough(Exception):
    """The last phase that was asked for is done."""


class UnknownPhase(Exception):
    """What was asked for as the last phase is none."""


class Example(ABC):
    """One run of an example in one folder."""

    name: ClassVar[str]  # its folder under examples/
    goes_on: ClassVar[bool] = False  # what an older run left in the folder is kept; else it is replaced
    arguments: ClassVar[tuple[str, str]] = ("key=value", "settings of the PPO run")  # those of the command line
    console = Console()
    until: str | None = None  # the last phase that is wanted

    def __init__(self, folder: Path, seed: int, overrides: list[str], programs: Programs) -> None:
        self.folder, self.seed, self.overrides = folder, seed, overrides
        self.programs = programs
        self.seconds: dict[str, float] = {}

    @abstractmethod
    def run(self) -> bool:
        """All of it; False when it did not reach what it promises."""

    def phases(self, works: Mapping[str, Callable[[], None]]) -> None:
        """One after the other, under its name and timed. Raises FarEnough, UnknownPhase."""
        if self.until not in (None, *works):
            raise UnknownPhase(f"there is no phase '{self.until}', only {', '.join(works)}")
        for number, (name, work) in enumerate(works.items(), start=1):
            self.console.rule(f"[bold]{number}/{len(works)}  {name}", align="left")
            started = time.monotonic()
            work()
            self.seconds[name] = time.monotonic() - started
            if name == self.until:
                raise FarEnough

    def world(self) -> None:
        """The demo's text world: data of all stages in `data/`, a model with random weights in `base/`."""
        self.script(WORLD / "prepare.py")

    def fine_tune(self, start: str = "base", name: str = "sft", **settings: object) -> None:
        """From the model in the folder `start`, by default random weights, to readable English in the folder `name`."""
        self.plaudit(
            "sft",
            WORLD / "settings" / "sft.yaml",
            policy__model=self.folder / start,
            data__source=self.folder / "data" / "demonstrations.jsonl",
            output=self.folder / name,
            training__seed=self.seed,
            **settings,
        )

    def reward_model(self, file: Path, data: str, name: str = "reward_model", **settings: object) -> None:
        """From the fine-tuned policy and `data/DATA`, in the folder `name`."""
        own: dict[str, object] = {
            "base__model": self.folder / "sft",
            "data__source": self.folder / "data" / data,
            "output": self.folder / name,
            "training__seed": self.seed,
        }
        self.plaudit("reward-model", file, **{**own, **settings})

    def serve_reward_model(self, file: Path, served_as: str) -> None:
        """The one in `reward_model/`."""
        self.serve(file, models=json.dumps([{"name": served_as, "model": str(self.folder / "reward_model")}]))

    def serve(self, file: Path, **settings: object) -> None:
        """A reward server on any free port, in the background; `address` then says where."""
        ready, log = self.folder / "ready.json", self.folder / "serve.log"
        free = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
        command = self._command("serve", file, ready_file=ready, **free, **settings)
        self.programs.serve("plaudit serve", command, log, ready)
        self.console.print(f"reward server ready at {self.address}, its log in {log}")

    @property
    def address(self) -> str:
        """The reward server's."""
        return str(json.loads((self.folder / "ready.json").read_text(encoding="utf-8"))["address"])

    def train(self, file: Path, **settings: object) -> None:
        """PPO on the world's prompts against the reward server, in `ppo/` unless `settings` name another folder."""
        data = self.folder / "data"
        own: dict[str, object] = {
            "folder": self.folder / "ppo",
            "prompts__data__source": data / "practice.jsonl",
            "prompts__held_out__source": data / "held_out.jsonl",
            "reward__address": self.address,
            "seed": self.seed,
        }
        self.plaudit("train", file, *self.overrides, **{**own, **settings})

    def script(self, path: Path, *arguments: object) -> None:
        """`python path FOLDER SEED arguments`."""
        command = [sys.executable, str(path), str(self.folder), str(self.seed), *map(str, arguments)]
        self.programs.run(path.name, command)

    def plaudit(self, command: str, file: Path, *overrides: str, **settings: object) -> None:
        """`plaudit command file key=value ...`; a double underscore stands for the dot in a key."""
        self.programs.run(f"plaudit {command}", self._command(command, file, *overrides, **settings))

    def _command(self, command: str, file: Path, *overrides: str, **settings: object) -> list[str]:
        own = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        return [*PLAUDIT, command, str(file), *own, *overrides]


def main(kind: type[Example]) -> int:
    """Parses, runs, and ends whatever was started. Returns the exit code."""
    parsed = _parser(kind).parse_args()
    if not claim(parsed.folder, kind.name, keep=kind.goes_on):
        print(f"{kind.name}: {parsed.folder} holds something else: choose another --folder", file=sys.stderr)
        return 2
    try:
        with Programs(ENVIRONMENT) as programs:
            example = kind(parsed.folder, parsed.seed, parsed.overrides, programs)
            example.until = parsed.until
            return 0 if example.run() else 1
    except FarEnough:
        return 0
    except UnknownPhase as error:
        print(f"{kind.name}: {error}", file=sys.stderr)
        return 2
    except ProgramFailed as error:
        print(f"{kind.name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{kind.name}: interrupted, everything that it started has ended", file=sys.stderr)
        return 130


def claim(folder: Path, name: str, *, keep: bool = False) -> bool:
    """Makes the folder, empty but for a marker unless an older run's is kept; False where it holds something else."""
    marker = folder / f".plaudit-{name}"
    if folder.exists() and any(folder.iterdir()):
        if not marker.is_file():
            return False
        if keep:
            return True
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return True


def _parser(kind: type[Example]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(kind.__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    told = "an older run in it goes on" if kind.goes_on else "what an older run left in it is replaced"
    parser.add_argument("--folder", type=Path, default=Path("runs") / kind.name, help=told)
    parser.add_argument("--until", metavar="PHASE", help="end when this phase is done")
    name, told = kind.arguments
    parser.add_argument("overrides", nargs="*", metavar=name, help=told)
    return parser
