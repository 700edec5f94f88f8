"""A run has rewards of one model: those of two are on two scales."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from plaudit_client.aio import AsyncRewardClient
from plaudit_client.client import RewardClient
from plaudit_client.errors import ModelNotFound, RewardError
from plaudit_client.types import Score, ScoreFailure


class OtherModel(RewardError):
    """Scores of two models are on two scales, and the server no longer has the one that it answered with before."""


class OneModel:
    """Keeps to the model that answers first: from then on that version is asked for, wherever its name is moved to."""

    def __init__(self) -> None:
        self.name = ""
        """`models/{model}/versions/{version}`; empty until one has answered."""
        self._naming = threading.Lock()

    @contextmanager
    def asked(self, client: RewardClient | AsyncRewardClient) -> Iterator[None]:
        """While `client` asks. Raises OtherModel."""
        if self.name:
            client.ask_for(self.name)
        try:
            yield
        except ModelNotFound as error:
            if not self.name:
                raise
            raise OtherModel(
                f"this run has rewards of {self.name}, and the server has that no more ({error}): serve that one "
                "again, or load it there"
            ) from None

    def check(self, results: Sequence[Score | ScoreFailure]) -> None:
        """Raises OtherModel."""
        for name in {result.model.name for result in results if isinstance(result, Score)}:
            with self._naming:
                self.name = self.name or name
            if name != self.name:
                raise OtherModel(
                    f"the reward server answers with {name} now, this run has rewards of {self.name}: serve that one "
                    "again, or ask for it by its version"
                )
