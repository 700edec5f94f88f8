"""The whole loop on one machine: `python examples/demo/run.py [--seed 0] [--folder runs/demo] [key=value ...]`

    1. world           questions, demonstrations, a tokenizer and random weights       prepare.py
    2. fine-tuning     from random weights to readable English                         plaudit sft
    3. preferences     the model's replies in pairs, judged by simulated annotators    pairs.py
    4. reward model    learns what the annotators prefer                               plaudit reward-model
    5. server          serves it over gRPC, a process of its own                       plaudit serve
    6. accuracy        against labels it has not seen, through the server              plaudit eval
    7. PPO             two Ray workers write, the server judges, the trainer learns    plaudit train

and then the verdict: the known utility of the held-out samples, and the report        verdict.py, plaudit report

`key=value` overrides settings/train.yaml. Exit code 0 when the demo reached what it promises (verdict.py), 1 when not.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from processes import ProgramFailed, Programs
from rich.console import Console

HERE = Path(__file__).parent
MARKER = ".plaudit-demo"
PLAUDIT = (sys.executable, "-m", "plaudit.cli")
ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    # One thread per program: at this size a second one gains a third on an idle machine, and doubles the time on a
    # busy one.
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
}
console = Console()


class Demo:
    """One run of the demo in one folder."""

    def __init__(self, folder: Path, seed: int, overrides: list[str], programs: Programs) -> None:
        self.folder, self.seed, self.overrides = folder, seed, overrides
        self.programs = programs
        self.seconds: dict[str, float] = {}

    def run(self) -> bool:
        """All phases; True when the demo reached what it promises."""
        self._phase("world", self._world)
        self._phase("fine-tuning", self._fine_tune)
        self._phase("preferences", self._preferences)
        self._phase("reward model", self._reward_model)
        self._phase("server", self._serve)
        self._phase("accuracy", self._accuracy)
        self._phase("PPO", self._train)
        return self._verdict()

    def _world(self) -> None:
        self._script("prepare.py")

    def _fine_tune(self) -> None:
        self._plaudit(
            "sft",
            policy__model=self.folder / "base",
            data__source=self.folder / "data" / "demonstrations.jsonl",
            output=self.folder / "sft",
            training__seed=self.seed,
        )

    def _preferences(self) -> None:
        self._script("pairs.py")

    def _reward_model(self) -> None:
        self._plaudit(
            "reward-model",
            base__model=self.folder / "sft",
            data__source=self.folder / "data" / "preferred.jsonl",
            output=self.folder / "reward_model",
            training__seed=self.seed,
        )

    def _serve(self) -> None:
        """On any free port; the ready file says which."""
        ready = self.folder / "ready.json"
        models = json.dumps([{"name": "demo", "model": str(self.folder / "reward_model")}])
        command = self._command("serve", models=models, ready_file=ready)
        self.programs.serve("plaudit serve", command, self.folder / "serve.log", ready)
        console.print(f"reward server ready at {self._address()}, its log in {self.folder / 'serve.log'}")

    def _accuracy(self) -> None:
        self._plaudit(
            "eval",
            reward__address=self._address(),
            data__source=self.folder / "data" / "preferred_judged.jsonl",
            output=self.folder / "accuracy",
        )

    def _train(self) -> None:
        data = self.folder / "data"
        self._plaudit(
            "train",
            *self.overrides,
            folder=self.folder / "ppo",
            policy__model=self.folder / "sft",
            prompts__data__source=data / "practice.jsonl",
            prompts__held_out__source=data / "held_out.jsonl",
            reward__address=self._address(),
            seed=self.seed,
        )

    def _verdict(self) -> bool:
        from verdict import add_gold, show, summarise

        add_gold(self.folder / "ppo")
        summary = summarise(self.folder, self.seconds, self.programs.memory.peak_bytes)
        report = [*PLAUDIT, "report", str(self.folder / "ppo"), f"title=make demo, seed {self.seed}"]
        self.programs.run("plaudit report", report)
        return show(summary, console)

    def _address(self) -> str:
        return str(json.loads((self.folder / "ready.json").read_text(encoding="utf-8"))["address"])

    def _phase(self, name: str, work: Callable[[], None]) -> None:
        console.rule(f"[bold]{len(self.seconds) + 1}/7  {name}", align="left")
        started = time.monotonic()
        work()
        self.seconds[name] = time.monotonic() - started

    def _script(self, name: str) -> None:
        self.programs.run(name, [sys.executable, str(HERE / name), str(self.folder), str(self.seed)])

    def _plaudit(self, command: str, *overrides: str, **settings: object) -> None:
        self.programs.run(f"plaudit {command}", self._command(command, *overrides, **settings))

    def _command(self, command: str, *overrides: str, **settings: object) -> list[str]:
        """`plaudit command settings/command.yaml key=value ...`; a double underscore stands for the dot in a key."""
        file = HERE / "settings" / f"{command.replace('-', '_')}.yaml"
        own = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        return [*PLAUDIT, command, str(file), *own, *overrides]


def main() -> int:
    """Parses, runs, and ends whatever was started."""
    parser = argparse.ArgumentParser(description="RLHF end to end on one machine.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/demo"), help="an older demo in it is replaced")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the PPO run")
    parsed = parser.parse_args()
    if not claim(parsed.folder):
        print(f"demo: {parsed.folder} holds something else than a demo: choose another --folder", file=sys.stderr)
        return 2
    try:
        with Programs(ENVIRONMENT) as programs:
            return 0 if Demo(parsed.folder, parsed.seed, parsed.overrides, programs).run() else 1
    except ProgramFailed as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("demo: interrupted, everything that it started has ended", file=sys.stderr)
        return 130


def claim(folder: Path) -> bool:
    """Makes the folder, empty but for a marker; False where it holds something that no demo wrote."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            return False
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return True


if __name__ == "__main__":
    sys.exit(main())
