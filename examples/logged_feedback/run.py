"""Thumbs from a log, two ways to use them: `python examples/logged_feedback/run.py [--seed 0] [key=value ...]`

    1. policies        an older one, whose answers were logged, and today's                plaudit sft
    2. logs            answers of both with thumbs by simulated customers                  log.py
    3. straight        PPO on either log, without sampling: off-policy                     straight.py
    4. reward model    learns the older policy's thumbs by regression                      plaudit reward-model
    5. server          serves it                                                           plaudit serve
    6. PPO             on today's policy's own samples, against that server                plaudit train

and then the known utility of held-out answers, before and after each way                  compare.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from example import Example, main

HERE = Path(__file__).parent


class LoggedFeedback(Example):
    """Thumbs from logs: straight into PPO, and through a reward model."""

    name = "logged_feedback"

    def run(self) -> bool:
        """Prints the utility before, and after each way."""
        self.phases(
            {
                "policies": self._policies,
                "logs": lambda: self.script(HERE / "log.py"),
                "straight": self._straight,
                "reward model": lambda: self.reward_model(HERE / "reward_model.yaml", "thumbs_older.jsonl"),
                "server": lambda: self.serve_reward_model(HERE / "serve.yaml", "thumbs"),
                "PPO": lambda: self.train(HERE / "train.yaml", policy__model=self.folder / "sft"),
            }
        )
        self.script(HERE / "compare.py")
        return True

    def _policies(self) -> None:
        """Today's is the older one, fine-tuned a little further."""
        self.world()
        self.fine_tune(name="older")
        self.fine_tune("older", data__limit=3_000)

    def _straight(self) -> None:
        for log in ("older", "own"):
            self.script(HERE / "straight.py", log)


if __name__ == "__main__":
    sys.exit(main(LoggedFeedback))
