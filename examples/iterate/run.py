"""Two rounds of judging and learning: `python examples/iterate/run.py [--seed 0] [--folder runs/iterate]`

    1. world       questions, demonstrations, a tokenizer and random weights    examples/demo/prepare.py
    2. labeller    the world's known utility, judging with noise                plaudit serve
    3. rounds      SFT, then generate, judge, reward model, PPO, evaluate       plaudit iterate

`key=value` overrides settings.yaml. The same command goes on where it was stopped. The report and the policy with its
model card are in FOLDER/rounds.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from example import Example, main

HERE = Path(__file__).parent


class Iterate(Example):
    """Rounds of judging and learning."""

    name = "iterate"
    goes_on = True
    arguments = ("key=value", "settings of the rounds")

    def run(self) -> bool:
        """All phases."""
        self.phases({"world": self.world, "labeller": lambda: self.serve(HERE / "serve.yaml"), "rounds": self._rounds})
        return True

    def _rounds(self) -> None:
        data = self.folder / "data"
        self.plaudit(
            "iterate",
            HERE / "settings.yaml",
            f"policy.model={self.folder / 'base'}",
            f"sft.data.source={data / 'demonstrations.jsonl'}",
            *self.overrides,
            folder=self.folder / "rounds",
            seed=self.seed,
            generate__prompts__source=data / "preferences.jsonl",
            train__prompts__data__source=data / "practice.jsonl",
            evaluate__prompts__source=data / "held_out.jsonl",
            label__model__address=self.address,
            evaluate__gold__address=self.address,
        )


if __name__ == "__main__":
    sys.exit(main(Iterate))
