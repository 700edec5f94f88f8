"""`samples/step-N.jsonl`: the same held-out prompts, answered by the policy of step N: so one can read the change.

`samples/start.jsonl`: many answers to each by the policy that the run started from, for best-of-n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plaudit.outputs import write_rows
from plaudit.ppo.learner import Learner
from plaudit.trainer.roles import RolloutPool, Scorer
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, ScoredTrajectory, TrainingBatch, Trajectory

SLICE = 64  # responses evaluated at a time


@dataclass(frozen=True)
class Sampler:
    """Draws held-out samples with the roles that the loop has."""

    folder: Path
    prompts: Sequence[Prompt]
    per_prompt: int
    best_of: int
    sampling: Sampling
    pool: RolloutPool
    scorer: Scorer
    learner: Learner
    pad_token_id: int

    def draw(self, step: int) -> None:
        """Answers every held-out prompt `per_prompt` times, scores the answers, and writes one line each.

        The seeds of a response depend on its prompt alone, so what changes between two files is the policy.
        """
        trajectories, scored = self._answers(self.per_prompt)
        kl = kl_by_request(self.learner, [one for one in scored if one is not None], self.pad_token_id)
        self._write(f"step-{step:05d}", trajectories, scored, kl)

    def draw_start(self) -> None:
        """`best_of` answers to every held-out prompt, before the first step: their KL is 0."""
        trajectories, scored = self._answers(self.best_of)
        self._write("start", trajectories, scored, {one.request.id: 0.0 for one in trajectories})

    def _answers(self, each: int) -> tuple[list[Trajectory], list[ScoredTrajectory | None]]:
        requests = [RolloutRequest(prompt, 0, sample) for prompt in self.prompts for sample in range(each)]
        trajectories = self.pool.generate(requests, self.sampling)
        return trajectories, self.scorer.score(trajectories)

    def _write(
        self,
        name: str,
        trajectories: list[Trajectory],
        scored: list[ScoredTrajectory | None],
        kl: dict[str, float],
    ) -> None:
        rows = [_row(trajectory, one, kl) for trajectory, one in zip(trajectories, scored, strict=True)]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_rows(self.folder / f"{name}.jsonl", rows)


def kl_by_request(learner: Learner, scored: Sequence[ScoredTrajectory], pad_token_id: int) -> dict[str, float]:
    """Request id -> KL from the reference, nats per response. In slices, so that many samples fit in memory."""
    kl: dict[str, float] = {}
    for first in range(0, len(scored), SLICE):
        part = scored[first : first + SLICE]
        evaluation = learner.evaluate(TrainingBatch.assemble(part, pad_token_id))
        values = (evaluation.logprobs - evaluation.reference_logprobs).sum(axis=1).tolist()
        kl.update((one.trajectory.request.id, value) for one, value in zip(part, values, strict=True))
    return kl


def _row(trajectory: Trajectory, scored: ScoredTrajectory | None, kl: dict[str, float]) -> dict[str, object]:
    prompt = trajectory.request.prompt
    return {
        "prompt_id": prompt.id,
        "sample": trajectory.request.sample_index,
        "prompt": prompt.text if prompt.text is not None else [turn._asdict() for turn in prompt.messages or ()],
        "response": trajectory.response_text,
        "score": scored.score if scored else None,
        **(scored.parts if scored else {}),
        "kl": kl.get(trajectory.request.id),
        "finish_reason": trajectory.finish_reason,
        "weight_version": trajectory.weight_version,
    }
