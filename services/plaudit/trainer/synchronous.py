"""Steps 1 to 3, one after another: prompts, then responses, then scores.

Workers idle while the learner updates and the learner idles while they generate, so every trajectory is sampled with
the weights it is trained on, and a run is the same bit for bit however many workers there are and whichever of them
die.
"""

from dataclasses import dataclass

from plaudit.errors import RunFailed
from plaudit.trainer.prompts import PromptStream
from plaudit.trainer.roles import Collected, Phase, Position, RolloutPool, Scorer
from plaudit.trajectory import Sampling, Trajectory, Weights


@dataclass
class SynchronousRollouts:
    """Implements `trainer.roles.Rollouts`."""

    prompts: PromptStream
    pool: RolloutPool
    scorer: Scorer
    sampling: Sampling

    def begin(self, version: int, position: Position) -> None:
        """Nothing to do: what a step asks for follows from its number."""

    def collect(self, step: int, phase: Phase) -> Collected:
        """The step's own prompts, generated with the weights of its version."""
        # 1. Which prompts: a function of the run seed and the step.
        requests = self.prompts.requests(step)

        # 2. The current policy answers them, in the workers.
        with phase("generate"):
            trajectories = self.pool.generate(requests, self.sampling)
        if not trajectories:
            raise RunFailed(f"step {step}: every prompt is set aside")
        _check_versions(trajectories, step)

        # 3. The reward server judges the answers. What has no score is dropped, never given a number.
        with phase("score"):
            scored = [one for one in self.scorer.score(trajectories) if one is not None]
        if not scored:
            raise RunFailed(f"step {step}: no trajectory has a reward")
        counts = {
            "missing_rewards": len(trajectories) - len(scored),
            "set_aside": len(requests) - len(trajectories),  # their prompts kill workers
            "generated_tokens": sum(len(one.response_ids) for one in trajectories),  # those without a reward too
        }
        return Collected(scored, counts)

    def publish(self, version: int, weights: Weights) -> None:
        """The workers take them before they generate the next step's responses."""
        self.pool.set_weights(version, weights)

    def position(self, step: int) -> Position:
        """Those of the step: a process that dies is at them."""
        requests = self.prompts.requests(step)
        return Position([request.id for request in requests], self.prompts.drawn_before(step + 1))

    def close(self) -> None:
        """Nothing runs between two steps."""


def _check_versions(trajectories: list[Trajectory], step: int) -> None:
    """On-policy means sampled with the weights that learn now."""
    if stale := sorted({one.weight_version for one in trajectories} - {step}):
        raise RunFailed(f"step {step}: the workers sampled with the weights of version {stale[0]}")
