"""Asks the reward services about finished trajectories.

The client retries what may be retried; what is still without a score afterwards, from any one service, is None here, is
counted by its reason, and is dropped from the step. A number is never made up for it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from threading import Lock

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.reward_server.asking import errors_explained, open_client, score_item
from plaudit.trainer.settings import RewardSettings
from plaudit.trajectory import ScoredTrajectory, Trajectory
from plaudit_client import ModelInfo, Score, ScoreFailure, ScoreItem, ServerUnavailable
from plaudit_client.one_model import OneModel

LOOK_SECONDS = 0.5
MOST_AT_ONCE = 64
"""Calls under way, over all services; the threads for them start as they are needed."""


class RewardService:
    """One service, and what its scores count for."""

    def __init__(self, name: str, settings: RewardSettings, *, alone: bool) -> None:
        self._name, self._settings, self._alone = name, settings, alone
        self.client = open_client(settings)
        self._model = OneModel()

    def wait_until_ready(self) -> ModelInfo:
        """The version that will be asked from then on, once its server answers. Raises as `errors_explained`."""
        with errors_explained():
            model = self.client.wait_until_ready(self._settings.startup_timeout_s)
        self._model.name = model.name
        if self._settings.pessimism and not model.members:
            raise ConfigurationError(
                f"{self._name}: pessimism needs an ensemble, and {model.name} is a single model: serve several of them "
                "as one (docs/serving.md), or set pessimism to 0"
            )
        return model

    def ask(self, items: Sequence[ScoreItem]) -> Sequence[Score | ScoreFailure]:
        """One answer for each. A server that went away is waited for, and asked once more when it is back."""
        with errors_explained(), self._model.asked(self.client):
            try:
                results = self.client.score(items)
            except ServerUnavailable:
                self.client.wait_until_ready(self._settings.startup_timeout_s)
                results = self.client.score(items)
            self._model.check(results)
        return results

    def read(self, score: Score) -> tuple[float, dict[str, float]]:
        """(what it adds to the reward, what is reported of it)."""
        value, reported = score.value, {}
        if score.ensemble is not None:
            reported[f"disagreement_{self._name}"] = score.ensemble.std
            if self._settings.pessimism:
                value = score.ensemble.mean - self._settings.pessimism * score.ensemble.std
        if not self._alone:  # else it is the score itself
            reported[f"score_{self._name}"] = value
        return self._settings.weight * value, reported


class RemoteScorer:
    """A Scorer over one or several services: a trajectory's score is the weighted sum of theirs."""

    def __init__(self, rewards: Mapping[str, RewardSettings], max_missing_ratio: float) -> None:
        alone = len(rewards) == 1
        self._services = {name: RewardService(name, settings, alone=alone) for name, settings in rewards.items()}
        self._max_missing_ratio = max_missing_ratio
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._asking = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="reward-service")
        self._counting = Lock()
        self._missing: Counter[str] = Counter()
        self.on_wait: Callable[[], None] = lambda: None  # called twice a second; what it raises ends the waiting

    def wait_until_ready(self) -> dict[str, ModelInfo]:
        """The models that will be asked, by service. Raises as `errors_explained`."""
        return {name: service.wait_until_ready() for name, service in self._services.items()}

    def score(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """In order; raises RunFailed when more than `max_missing_ratio` have no score, and as `errors_explained`."""
        asked = self._threads.submit(copy_context().run, self.ask, trajectories)  # whose span is active
        while wait([asked], timeout=LOOK_SECONDS).not_done:
            self.on_wait()
        scored = asked.result()
        self.check_missing(scored.count(None), len(scored))
        return scored

    def ask(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        """In order, however many have no score; from any thread. Raises as `errors_explained`."""
        items = [_item(trajectory) for trajectory in trajectories]
        services = list(self._services.values())
        contexts = [copy_context() for _ in services]
        asked = self._asking.map(lambda service, context: context.run(service.ask, items), services, contexts)
        answers = list(asked)  # all at once
        return [
            self._scored(trajectory, dict(zip(services, results, strict=True)))
            for trajectory, *results in zip(trajectories, *answers, strict=True)
        ]

    def check_missing(self, missing: int, asked: int) -> None:
        """Raises RunFailed when so many of those that were asked for have no score."""
        if missing > self._max_missing_ratio * asked:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.missing.most_common(3))
            raise RunFailed(
                f"{missing} of {asked} trajectories have no reward (over the run: {reasons}): more than "
                f"max_missing_ratio {self._max_missing_ratio:g} allows"
            )

    @property
    def missing(self) -> Counter[str]:
        """Trajectories without a score, by reason, over the run: a copy."""
        with self._counting:
            return self._missing.copy()

    @property
    def retries(self) -> int:
        """Calls that the clients made again, over the run."""
        return sum(service.client.counts.retries for service in self._services.values())

    def close(self) -> None:
        """Closes the connections."""
        for service in self._services.values():
            service.client.close()
        for threads in (self._threads, self._asking):
            threads.shutdown(wait=False, cancel_futures=True)

    def _scored(
        self, trajectory: Trajectory, results: Mapping[RewardService, Score | ScoreFailure]
    ) -> ScoredTrajectory | None:
        total = 0.0
        parts: dict[str, float] = {}
        for service, result in results.items():
            if isinstance(result, ScoreFailure):
                with self._counting:
                    self._missing[result.reason] += 1
                return None
            value, reported = service.read(result)
            total += value
            parts |= reported
        return ScoredTrajectory(trajectory, total, parts)


def _item(trajectory: Trajectory) -> ScoreItem:
    request = trajectory.request
    prompt = request.prompt.messages or request.prompt.text or ""
    return score_item(prompt, trajectory.response_text, request.id, trajectory.finish_reason)
