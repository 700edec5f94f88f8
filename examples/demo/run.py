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

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from example import PLAUDIT, Example, main

HERE = Path(__file__).parent
SETTINGS = HERE / "settings"


class Demo(Example):
    """RLHF end to end on one machine."""

    name = "demo"

    def run(self) -> bool:
        """All phases; True when the demo reached what it promises."""
        self.phases(
            {
                "world": self.world,
                "fine-tuning": self.fine_tune,
                "preferences": self._preferences,
                "reward model": lambda: self.reward_model(SETTINGS / "reward_model.yaml", "preferred.jsonl"),
                "server": lambda: self.serve_reward_model(SETTINGS / "serve.yaml", "demo"),
                "accuracy": self._accuracy,
                "PPO": self._train,
            }
        )
        return self._verdict()

    def _preferences(self) -> None:
        self.script(HERE / "pairs.py")

    def _accuracy(self) -> None:
        self.plaudit(
            "eval",
            SETTINGS / "eval.yaml",
            reward__address=self.address,
            data__source=self.folder / "data" / "preferred_judged.jsonl",
            output=self.folder / "accuracy",
        )

    def _train(self) -> None:
        self.train(SETTINGS / "train.yaml", policy__model=self.folder / "sft")

    def _verdict(self) -> bool:
        from verdict import add_gold, show, summarise

        add_gold(self.folder / "ppo")
        summary = summarise(self.folder, self.seconds, self.programs.memory.peak_bytes)
        report = [*PLAUDIT, "report", str(self.folder / "ppo"), f"title=make demo, seed {self.seed}"]
        self.programs.run("plaudit report", report)
        return show(summary, self.console)


if __name__ == "__main__":
    sys.exit(main(Demo))
