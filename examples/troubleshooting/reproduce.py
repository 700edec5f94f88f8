"""Mistakes, reproduced: `python examples/troubleshooting/reproduce.py [--folder ...] [case ...]`

Each case of `cases.py` is trained twice, with its mistake and mended. docs/troubleshooting.md tells what to see.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))
sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from cases import CASES, late_mean
from example import Example, main
from rich.table import Table
from verdict import add_gold

from plaudit.report import run_folder

HERE = Path(__file__).parent
KINDS = "wrong", "mended"


class Troubleshooting(Example):
    """Mistakes in PPO runs, reproduced and mended; name cases to see these alone."""

    name = "troubleshooting"
    arguments = ("case", f"all of them, or some: {' '.join(CASES)}")

    def run(self) -> bool:
        """False where a mistake did not show, or was not mended."""
        self.cases, self.overrides = self.overrides or list(CASES), []
        if unknown := set(self.cases) - CASES.keys():
            raise SystemExit(f"{self.name}: no case '{min(unknown)}': there are {', '.join(CASES)}")
        self.phases({"policy": self._policy, "server": self._serve, "wrong and mended": self._train})
        return self._show()

    def _policy(self) -> None:
        self.world()
        self.fine_tune()

    def _serve(self) -> None:
        self.serve(HERE / "serve.yaml")

    def _train(self) -> None:
        for name in self.cases:
            for kind in KINDS:
                folder = self.folder / name / kind
                self.console.print(f"[bold]{name}[/bold], {kind}")
                settings = getattr(CASES[name], kind)
                own = {"policy.model": self.folder / "sft", "folder": folder}
                also = {f"{key.rpartition('.')[0]}.address": self.address for key in settings if "more_rewards" in key}
                self.train(HERE / "train.yaml", **own, **also, **settings)
                add_gold(folder)

    def _show(self) -> bool:
        table = Table(title="Mean over the last four steps; gold over the last held-out answers", title_justify="left")
        for column in ("case", "metric", "sign of it", "wrong", "mended"):
            table.add_column(column)
        found = []
        for name in self.cases:
            case = CASES[name]
            values = [late_mean(run_folder.read(self.folder / name / kind), case.metric) for kind in KINDS]
            found += [case.shows(values[0]), not case.shows(values[1])]
            sign = f"{'above' if case.above else 'below'} {case.limit:g}"
            table.add_row(name, case.metric, sign, *(f"{value:.3g}" for value in values))
        self.console.print(table)
        return all(found)


if __name__ == "__main__":
    sys.exit(main(Troubleshooting))
