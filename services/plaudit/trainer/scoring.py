"""Asks the reward server about finished trajectories.

The client retries what may be retried; what is still without a score afterwards is None here, is counted by its reason,
and is dropped from the step. A number is never made up for it.
"""

from collections import Counter
from collections.abc import Sequence

from plaudit.errors import RunFailed
from plaudit.reward_server import RewardServerSettings, errors_explained, open_client, score_item
from plaudit.trajectory import ScoredTrajectory, Trajectory
from plaudit_client import ModelInfo, Score, ScoreFailure, ScoreItem, ServerUnavailable


class RemoteScorer:
    """A Scorer over `plaudit_client`."""

    def __init__(self, server: RewardServerSettings, max_missing_ratio: float) -> None:
        self._server, self._max_missing_ratio = server, max_missing_ratio
        self._client = open_client(server)
        self._model = ""  # the one that gave the first score
        self.missing: Counter[str] = Counter()  # reason -> trajectories without a score, over the run

    def wait_until_ready(self) -> ModelInfo:
        """The model that will be asked, once its server answers. Raises as `errors_explained`."""
        with errors_explained():
            return self._client.wait_until_ready(self._server.startup_timeout_s)

    def score(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """In order; raises RunFailed when more than `max_missing_ratio` have no score, and as `errors_explained`."""
        results = self._results([_item(trajectory) for trajectory in trajectories])
        scored = [self._scored(trajectory, result) for trajectory, result in zip(trajectories, results, strict=True)]
        missing = sum(one is None for one in scored)
        if missing > self._max_missing_ratio * len(scored):
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.missing.most_common(3))
            raise RunFailed(
                f"{missing} of {len(scored)} trajectories have no reward (over the run: {reasons}): more than "
                f"max_missing_ratio {self._max_missing_ratio:g} allows"
            )
        return scored

    @property
    def retries(self) -> int:
        """Calls that the client made again, over the run."""
        return self._client.counts.retries

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _results(self, items: Sequence[ScoreItem]) -> Sequence[Score | ScoreFailure]:
        """The service's answers. A server that went away is waited for, and asked once more when it is back."""
        with errors_explained():
            try:
                return self._client.score(items)
            except ServerUnavailable:
                self._client.wait_until_ready(self._server.startup_timeout_s)
                return self._client.score(items)

    def _scored(self, trajectory: Trajectory, result: Score | ScoreFailure) -> ScoredTrajectory | None:
        if isinstance(result, ScoreFailure):
            self.missing[result.reason] += 1
            return None
        self._check_model(result.model.name)
        return ScoredTrajectory(trajectory, result.value)

    def _check_model(self, name: str) -> None:
        """Two models' scores are on two scales: a run has rewards of one."""
        self._model = self._model or name
        if name != self._model:
            raise RunFailed(
                f"the reward server answers with {name} now, this run has rewards of {self._model}: serve that one "
                "again, then the same command goes on"
            )


def _item(trajectory: Trajectory) -> ScoreItem:
    request = trajectory.request
    prompt = request.prompt.messages or request.prompt.text or ""
    return score_item(prompt, trajectory.response_text, request.id, trajectory.finish_reason)
