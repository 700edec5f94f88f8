"""PPO against a rule, from nothing: a small policy, a reward server with the rule, training, and what came of it.

    1. policy    a text world, a model with random weights, fine-tuned until it writes English    plaudit sft
    2. server    examples/serve/NAME.yaml                                                         plaudit serve
    3. PPO       examples/NAME/train.yaml                                                         plaudit train

With `policy.model=...` that policy is trained instead: a folder, or a name on the hub.
"""

from example import EXAMPLES, Example
from outcome import show


class AgainstRule(Example):
    """`name` is the rule's, of the settings file that serves it and of the folder with the run's settings."""

    def run(self) -> bool:
        """Prints the mean score before, between and after."""
        self.phases({"policy": self._policy, "server": self._serve, "PPO": self._train})
        show(self.folder / "ppo", self.console)
        return True

    def _policy(self) -> None:
        self.world()
        if not self._given:
            self.fine_tune(data__limit=4_000)

    def _serve(self) -> None:
        self.serve(EXAMPLES / "serve" / f"{self.name}.yaml")

    def _train(self) -> None:
        own = {} if self._given else {"policy__model": self.folder / "sft"}
        self.train(EXAMPLES / self.name / "train.yaml", **own)

    @property
    def _given(self) -> bool:
        """Whether the policy is one that there is already."""
        return any(override.startswith("policy.model=") for override in self.overrides)
