"""Stars to a better policy: `python examples/scored_feedback/run.py [--seed 0] [key=value ...]`

    1. policy          a text world, a model with random weights, fine-tuned on it     plaudit sft
    2. ratings         its replies, one to five stars each by simulated people         rate.py
    3. reward model    learns the stars by regression                                  plaudit reward-model
    4. server          serves it, a process of its own                                 plaudit serve
    5. PPO             against that server                                             plaudit train

and then the world's known utility of the held-out replies, which no model ever saw.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))
sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from example import Example, main
from outcome import show
from verdict import add_gold

HERE = Path(__file__).parent


class ScoredFeedback(Example):
    """Stars by people, a reward model by regression, PPO against it."""

    name = "scored_feedback"

    def run(self) -> bool:
        """Prints score and utility before, between and after."""
        self.phases(
            {
                "policy": self._policy,
                "ratings": lambda: self.script(HERE / "rate.py"),
                "reward model": self._reward_model,
                "server": self._serve,
                "PPO": lambda: self.train(HERE / "train.yaml", policy__model=self.folder / "sft"),
            }
        )
        add_gold(self.folder / "ppo")
        show(self.folder / "ppo", self.console)
        return True

    def _policy(self) -> None:
        self.world()
        self.fine_tune()

    def _reward_model(self) -> None:
        self.plaudit(
            "reward-model",
            HERE / "reward_model.yaml",
            base__model=self.folder / "sft",
            data__source=self.folder / "data" / "rated.jsonl",
            eval_data__source=self.folder / "data" / "rated_judged.jsonl",
            output=self.folder / "reward_model",
            training__seed=self.seed,
        )

    def _serve(self) -> None:
        models = json.dumps([{"name": "stars", "model": str(self.folder / "reward_model")}])
        self.serve(HERE / "serve.yaml", models=models)


if __name__ == "__main__":
    sys.exit(main(ScoredFeedback))
