"""Stars to a better policy: `python examples/scored_feedback/run.py [--seed 0] [key=value ...]`

    1. policy          a text world, a model with random weights, fine-tuned on it     plaudit sft
    2. ratings         its replies, one to five stars each by simulated people         rate.py
    3. reward model    learns the stars by regression                                  plaudit reward-model
    4. server          serves it, a process of its own                                 plaudit serve
    5. PPO             against that server                                             plaudit train

and then the world's known utility of the held-out replies, which no model ever saw.
"""

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
                "server": lambda: self.serve_reward_model(HERE / "serve.yaml", "stars"),
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
        judged = self.folder / "data" / "rated_judged.jsonl"
        self.reward_model(HERE / "reward_model.yaml", "rated.jsonl", eval_data__source=judged)


if __name__ == "__main__":
    sys.exit(main(ScoredFeedback))
