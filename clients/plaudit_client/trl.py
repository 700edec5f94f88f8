"""A reward function for trl's trainers (GRPOTrainer, RLOOTrainer; trl 1.16).

    from plaudit_client.trl import RewardFunction

    reward = RewardFunction("127.0.0.1:50051", eos_token_ids=[tokenizer.eos_token_id])
    GRPOTrainer(model=..., reward_funcs=reward, ...)

    a completion without a score   None: trl leaves it out of its group's mean and gives it no advantage
    too many of those              raises TooManyMissing: of the last 128 of this process, since trl asks in each for
                                   what it generated there, which may be one completion
    nobody answers                 raises, after `timeout` seconds of asking

trl adds up several reward functions without what is None, as if that were 0: among others, set `max_missing_ratio=0`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from plaudit_client.adapters import TIMEOUT, AnyLoop, Turns, item_of
from plaudit_client.credentials import Tls
from plaudit_client.errors import DeadlineExceeded, QuotaExceeded, RewardError, ServerFault, ServerUnavailable
from plaudit_client.types import FinishReason, Score, ScoreFailure

log = logging.getLogger(__name__)

LATER = (ServerUnavailable, DeadlineExceeded, QuotaExceeded, ServerFault)
"""What another step need not meet again; a wrong model or key, it would."""
LAST = 128
"""Completions that `max_missing_ratio` is a share of, however few there were yet: a handful is no ratio."""


class TooManyMissing(RewardError):
    """More completions than `max_missing_ratio` allows have no score; `metadata` counts them by reason."""


class RewardFunction:
    """Asks a reward server for the scores of a batch; may be copied, pickled and asked from any event loop."""

    def __init__(
        self,
        address: str,
        *,
        model: str = "",
        timeout: float = TIMEOUT,
        api_key: str | None = None,
        tls: Tls | None = None,
        name: str = "plaudit",
        max_missing_ratio: float = 0.5,
        eos_token_ids: Collection[int] = (),
    ) -> None:
        """As RewardClient, and: `name` is the metric's; `max_missing_ratio` of 128 completions may lack their scores.

        Those are the last of this process, or its batch where that is larger. 0 allows none; 1 also goes on when nobody
        answers, with a batch that teaches nothing. With the policy's `eos_token_ids` a completion that does not end in
        one of them is scored as one that was cut.
        """
        self.__name__ = name
        if not 0 <= max_missing_ratio <= 1:
            raise ValueError(f"max_missing_ratio is {max_missing_ratio:g}: a ratio is between 0 and 1")
        self._max_missing_ratio, self._eos_token_ids = max_missing_ratio, frozenset(eos_token_ids)
        self._last: list[str] = []  # why they have no score; empty for those that have
        self._server = AnyLoop(address, model=model, timeout=timeout, api_key=api_key, tls=tls)

    async def __call__(
        self,
        *,
        prompts: Sequence[str | Turns],
        completions: Sequence[str | Turns],
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """One for each completion, in order. Columns of the data set, and what else trl gives, change nothing."""
        ends = [None] * len(prompts) if completion_ids is None else list(map(self._finish_reason, completion_ids))
        items = [item_of(*said) for said in zip(prompts, completions, ends, strict=True)]
        try:
            results = await self._server.score(items)
        except LATER as error:
            if self._max_missing_ratio < 1:
                raise
            results = [ScoreFailure("", error.reason or type(error).__name__, str(error))] * len(items)
        self._tell(results, log_metric)
        return [result.value if isinstance(result, Score) else None for result in results]

    def _finish_reason(self, ids: Sequence[int]) -> FinishReason | None:
        if not self._eos_token_ids:
            return None
        return "stop" if len(ids) and ids[-1] in self._eos_token_ids else "length"

    def _tell(self, results: Sequence[Score | ScoreFailure], log_metric: Callable[[str, float], None] | None) -> None:
        """Of those without a score: how many, and why; never what they say."""
        reasons = ["" if isinstance(result, Score) else result.reason or "UNKNOWN" for result in results]
        missing = sum(map(bool, reasons))
        if log_metric is not None:
            log_metric(f"rewards/{self.__name__}/missing_ratio", missing / max(1, len(results)))
        self._last = last = [*self._last, *reasons][-max(LAST, len(results)) :]
        if missing:
            log.warning("%s", _told(reasons))
            self._check(last)

    def _check(self, last: Sequence[str]) -> None:
        counts, of = Counter(filter(None, last)), max(LAST, len(last))
        allowed = int(self._max_missing_ratio * of)
        if counts.total() > allowed:
            raise TooManyMissing(
                f"of this process's last, {_told(last)}: max_missing_ratio={self._max_missing_ratio:g} allows "
                f"{allowed} of {of}",
                metadata={reason: str(count) for reason, count in counts.items()},
            )


def _told(reasons: Sequence[str]) -> str:
    counts = Counter(filter(None, reasons))
    why = ", ".join(f"{reason} {count}" for reason, count in counts.most_common(3))
    return f"{counts.total()} of {len(reasons)} completions have no score ({why})"
