"""The loop: one PPO step after another, in the order in which they happen.

      ┌──────────────────────────── 7. new weights ─────────────────────────────┐
      v                                                                         │
    RolloutPool ── 2. trajectories ──> Scorer ── 3. scores ──> Learner ─────────┤
      ^            (Ray actors)        (gRPC)                  4. evaluate      │
      │                                                        6. update        │
    1. prompts                                                 5. advantages: here, on the whole batch

Steps 1 to 3 are those of `Rollouts`, of which there are two. `synchronous.py` does them in turn, on the policy that is
trained: the same bit for bit however many workers there are and whichever of them die. `overlapped.py` does them ahead,
while the learner is at 4 to 7: nobody waits for anybody, and the responses are a little older than the policy.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from time import monotonic

from plaudit.errors import RunFailed
from plaudit.ppo.kl import KLController, is_too_negative
from plaudit.ppo.learner import Learner
from plaudit.ppo.scores import ScoreShaper
from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.targets import make_targets
from plaudit.telemetry import tracing
from plaudit.trainer.pretraining import TextStream
from plaudit.trainer.roles import Rollouts
from plaudit.trajectory import ScoredTrajectory, TrainingBatch
from plaudit.uncertainty import Estimate

Metrics = dict[str, float]

logger = logging.getLogger(__name__)


class TooFarFromReference(RunFailed):
    """Raised before the update that would have led further away."""


@dataclass
class Loop:
    """Joins the three roles. Owns no model, no actor and no connection."""

    rollouts: Rollouts
    learner: Learner
    controller: KLController
    shaper: ScoreShaper
    ppo: PPOSettings
    pad_token_id: int
    steps: int
    texts: TextStream | None = None
    on_phase: Callable[[str], None] = lambda phase: None
    _seconds: Metrics = field(default_factory=dict)

    def step(self, step: int) -> Metrics:
        """Runs step `step` (from 0) and returns its metrics, by the names of `metrics.jsonl`."""
        started = monotonic()
        self._seconds = {}

        # 1. to 3. Prompts, the policy's responses to them, and what the reward server says of those.
        collected = self.rollouts.collect(step, self._phase)
        scored = collected.scored

        # 4. Log-probabilities before the update, the reference's, and values.
        batch = TrainingBatch.assemble(scored, self.pad_token_id)
        with self._phase("evaluate"):
            evaluation = self.learner.evaluate(batch)

        # 5. Score and KL penalty become rewards, rewards become advantages, over the whole batch.
        scores, kl_coef = self.shaper.shape(batch), self.controller.coef
        targets, learning = make_targets(batch, evaluation, kl_coef, self.ppo, scores)
        self._stay_near_reference(step, learning["kl"])
        _check_samples(Estimate(learning["kl"], learning["kl_standard_error"], len(scored)), step)

        # 6. PPO's epochs of mini-batches.
        with self._phase("update"):
            scale = self.ppo.learning_rate_scale(step, self.steps)
            texts = None if self.texts is None else self.texts.batch(step)
            update = self.learner.update(batch, targets, step, scale, texts)

        # 7. The workers get the new policy; version n has seen n updates.
        with self._phase("sync"):
            self.rollouts.publish(step + 1, self.learner.weights())

        # 8. The KL controller sets the weight of the next step's penalty.
        self.controller.update(learning["kl"], episodes=len(scored))

        return {
            **_rollout_metrics(scored, batch),
            **learning,
            **update,
            "kl_coef": kl_coef,
            "peak_memory_bytes": self.learner.peak_memory_bytes(),
            **collected.counts,
            **{f"seconds_{phase}": spent for phase, spent in self._seconds.items()},
            "seconds_step": monotonic() - started,
        }

    def _stay_near_reference(self, step: int, kl: float) -> None:
        """The brake on the whole run."""
        limit = self.ppo.kl.run_limit_nats_per_response
        if limit is not None and kl > limit:
            raise TooFarFromReference(
                f"step {step}: KL from the reference is {kl:.3g} nats per response, above "
                f"ppo.kl.run_limit_nats_per_response {limit:g}: start a run of its own (folder=...) with a larger "
                "ppo.kl.coef or a smaller ppo.learning_rate"
            )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self.on_phase(name)
        started = monotonic()
        with tracing.span(name):
            yield
        self._seconds[name] = monotonic() - started


def _check_samples(kl: Estimate, step: int) -> None:
    """Rule 8: says when the responses can hardly be the policy's own."""
    if is_too_negative(kl):
        logger.warning(
            "step %d: a KL of %.3g nats per response, far below 0: are these responses samples of the policy that "
            "learns? (docs/troubleshooting.md)",
            step,
            kl.value,
        )


def _rollout_metrics(scored: list[ScoredTrajectory], batch: TrainingBatch) -> Metrics:
    tokens = float(batch.response_mask.sum())
    truncated = sum(one.trajectory.finish_reason == "length" for one in scored)
    parts = scored[0].parts
    return {
        **{f"{name}_mean": fmean(one.parts[name] for one in scored) for name in parts},
        "episodes": len(scored),
        "tokens": tokens,
        "score_mean": float(batch.scores.mean()),
        "score_std": float(batch.scores.std()),
        "response_tokens_mean": tokens / len(scored),
        "truncated_ratio": truncated / len(scored),
    }
