"""Gold against proxy as policies leave their reference: `python benchmarks/overoptimisation/overoptimise.py [--seed 0]`

    1. world           the demo's text world, whose true utility no model ever sees
    2. policy          fine-tuned on demonstrations                                        plaudit sft
    3. preferences     simulated annotators compare the policy's answers
    4. reward models   of different seeds, each on a few of these preferences              plaudit reward-model
    5. server          each of them, and all as an ensemble                                plaudit serve
    6. PPO             the variants below, on the same prompts                             plaudit train
    7. gold            of every held-out sample; a page with all variants                  plaudit report

`tables.py FOLDER ...` reads what several seeds left.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "runner"))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "demo"))

from example import PLAUDIT, WORLD, Example, main
from verdict import add_gold

HERE = Path(__file__).parent
MEMBERS = 4
PREFERENCES = 600
"""For each member: a reward model that knows less is exploited sooner."""
FREE: dict[str, object] = {"ppo__kl__coef": 0}
VARIANTS: dict[str, dict[str, object]] = {
    "ppo": {},
    "rloo": {"ppo__advantages": "rloo", "samples_per_prompt": 4},
    "free": FREE,
    "free-ensemble": {**FREE, "reward__model": "all"},
    "free-pessimist": {**FREE, "reward__model": "all", "reward__pessimism": 1.0},
}
"""Name -> settings that differ from `train.yaml`; "free" of the KL penalty."""


class Overoptimisation(Example):
    """Gold against proxy: with and without a KL penalty, against one reward model and against several."""

    name = "overoptimisation"

    def run(self) -> bool:
        """Leaves a run folder per variant."""
        self.phases(
            {
                "world": self.world,
                "policy": self.fine_tune,
                "preferences": lambda: self.script(WORLD / "pairs.py"),
                "reward models": self._reward_models,
                "server": self._serve,
                "PPO": self._train,
                "gold": self._gold,
            }
        )
        return True

    def _reward_models(self) -> None:
        for member in range(MEMBERS):
            settings = {"data__limit": PREFERENCES, "training__seed": MEMBERS * self.seed + member}
            self.reward_model(WORLD / "settings" / "reward_model.yaml", "preferred.jsonl", f"m{member}", **settings)

    def _serve(self) -> None:
        names = [f"m{member}" for member in range(MEMBERS)]
        models: list[dict[str, object]] = [{"name": name, "model": str(self.folder / name)} for name in names]
        models.append({"name": "all", "ensemble": {"members": names}})
        self.serve(WORLD / "settings" / "serve.yaml", models=json.dumps(models))

    def _train(self) -> None:
        for name, changes in VARIANTS.items():
            own = {"policy__model": self.folder / "sft", "reward__model": "m0", "folder": self.folder / name}
            self.train(HERE / "train.yaml", **{**own, **changes})

    def _gold(self) -> None:
        for name in VARIANTS:
            add_gold(self.folder / name)
        first, *others = (str(self.folder / name) for name in VARIANTS)
        report = [*PLAUDIT, "report", first, f"beside={','.join(others)}"]
        self.programs.run("plaudit report", report)


if __name__ == "__main__":
    sys.exit(main(Overoptimisation))
