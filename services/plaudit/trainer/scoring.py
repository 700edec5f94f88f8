"""Asks the reward server about finished trajectories.

The client retries what may be retried; what is still without a score afterwards is None here, is counted by its reason,
and is dropped from the step. A number is never made up for it.
"""

from collections import Counter
from collections.abc import Sequence

from plaudit.errors import ConfigurationError, DependencyUnreachable, RunFailed
from plaudit.trainer.settings import RewardServiceSettings
from plaudit.trajectory import Prompt, ScoredTrajectory, Trajectory
from plaudit_client import (
    Conversation,
    InvalidRequest,
    Message,
    ModelInfo,
    ModelNotFound,
    RewardClient,
    RewardError,
    Score,
    ScoreFailure,
    ScoreItem,
    ServerUnavailable,
    TextPair,
)


class RemoteScorer:
    """A Scorer over `plaudit_client`."""

    def __init__(self, settings: RewardServiceSettings) -> None:
        self._settings = settings
        self._client = RewardClient(settings.address, model=settings.model, timeout=settings.timeout_s)
        self.missing: Counter[str] = Counter()  # reason -> trajectories without a score, over the run

    def wait_until_ready(self) -> ModelInfo:
        """The model that will be asked, once its server answers.

        Raises DependencyUnreachable after `startup_timeout_s`, ConfigurationError when the server has no such model.
        """
        timeout = self._settings.startup_timeout_s
        try:
            return self._client.wait_until_ready(timeout)
        except ModelNotFound:
            raise ConfigurationError(
                f"reward server {self._settings.address} has no model '{self._settings.model}': see `models` there"
            ) from None
        except ServerUnavailable:
            raise DependencyUnreachable(
                f"no reward server answered at {self._settings.address} within {timeout:g} s: start one with "
                "`plaudit serve`, or raise reward.startup_timeout_s"
            ) from None
        except RewardError as error:
            raise ConfigurationError(f"reward server {self._settings.address}: {error}") from None

    def score(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """In order; raises RunFailed when more than `max_missing_ratio` have no score."""
        scored = [
            self._scored(trajectory, result)
            for trajectory, result in zip(trajectories, self._results(trajectories), strict=True)
        ]
        missing = sum(one is None for one in scored)
        if missing > self._settings.max_missing_ratio * len(scored):
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.missing.most_common(3))
            raise RunFailed(
                f"{missing} of {len(scored)} trajectories have no reward (over the run: {reasons}): more than "
                f"reward.max_missing_ratio {self._settings.max_missing_ratio:g} allows"
            )
        return scored

    @property
    def retries(self) -> int:
        """Calls that the client made again, over the run."""
        return self._client.counts.retries

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _results(self, trajectories: Sequence[Trajectory]) -> Sequence[Score | ScoreFailure]:
        """The service's answers. A server that went away is waited for, and asked once more when it is back."""
        items = [_item(trajectory) for trajectory in trajectories]
        try:
            return self._client.score(items)
        except ServerUnavailable:
            self.wait_until_ready()
        except RewardError as error:
            return self._refused(items, error)
        try:
            return self._client.score(items)
        except RewardError as error:
            return self._refused(items, error)

    def _refused(self, items: Sequence[ScoreItem], error: RewardError) -> list[ScoreFailure]:
        """A call without an answer: no item has a score. A request that no server takes is a mistake of ours."""
        if isinstance(error, InvalidRequest):
            raise ConfigurationError(f"reward server {self._settings.address} refuses the request: {error}") from None
        reason = error.reason or type(error).__name__
        return [ScoreFailure(item.item_id, reason, str(error), code="") for item in items]

    def _scored(self, trajectory: Trajectory, result: Score | ScoreFailure) -> ScoredTrajectory | None:
        if isinstance(result, ScoreFailure):
            self.missing[result.reason] += 1
            return None
        return ScoredTrajectory(trajectory, result.value, result.model.name)


def _item(trajectory: Trajectory) -> ScoreItem:
    prompt, response = trajectory.request.prompt, trajectory.response_text
    return ScoreItem(
        _conversation(prompt, response) if prompt.messages else TextPair(prompt.text or "", response),
        item_id=trajectory.request.id,
        finish_reason=trajectory.finish_reason,
    )


def _conversation(prompt: Prompt, response: str) -> Conversation:
    turns = tuple(Message(role, content) for role, content in prompt.messages or ())
    return Conversation((*turns, Message("assistant", response)))
