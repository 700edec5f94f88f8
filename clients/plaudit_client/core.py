"""What a call does, without doing it: generators that yield commands and are sent the outcomes.

    flow = core.score(items, timeout)         yields  Call, Wait, Together
    RewardClient, AsyncRewardClient           do them, blocking or awaiting, and send back the outcome

So chunking, retries, deadlines and the cache of the model's limits are written once, and the two clients are drivers.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from plaudit_client import serde
from plaudit_client.chunking import Chunk, plan
from plaudit_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    QuotaExceeded,
    RewardError,
    ServerUnavailable,
)
from plaudit_client.retry import RetryBudget, RetryPolicy
from plaudit_client.types import (
    Candidate,
    Message,
    ModelInfo,
    Ranking,
    Score,
    ScoreFailure,
    ScoreItem,
    TokenScores,
)
from plaudit_protos.reward.v1 import reward_pb2 as pb

T = TypeVar("T")
R = TypeVar("R", pb.ScoreRequest, pb.ScoreTokensRequest)
Method = Literal["Score", "RankCandidates", "ScoreTokens", "GetModel"]
Request = pb.ScoreRequest | pb.RankCandidatesRequest | pb.ScoreTokensRequest | pb.GetModelRequest


@dataclass(frozen=True, slots=True)
class Call:
    """Outcome: the reply, or a RewardError thrown into the flow."""

    method: Method
    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Outcome: None, after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Together:
    """Outcome: the flows' results, in order; the first error ends them all."""

    flows: list["Flow[Any]"]


Flow = Generator[Call | Wait | Together, Any, T]


class Core:
    """One client's state: the model it asks for, its retry budget, and what it knows of the model."""

    def __init__(
        self, model: str, timeout: float, retry: RetryPolicy, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.model, self._timeout, self._retry, self._clock = model, timeout, retry, clock
        self._known: ModelInfo | None = None
        self.budget = RetryBudget(clock=clock)

    def score(
        self, items: Sequence[ScoreItem], members: bool, timeout: float | None
    ) -> Flow[list[Score | ScoreFailure]]:
        """As `RewardClient.score`."""
        empty = pb.ScoreRequest(model=self.model, include_members=members)
        return (yield from self._in_chunks("Score", items, empty, serde.results_from_pb, timeout))

    def score_tokens(self, items: Sequence[ScoreItem], timeout: float | None) -> Flow[list[TokenScores | ScoreFailure]]:
        """As `RewardClient.score_tokens`."""
        empty = pb.ScoreTokensRequest(model=self.model)
        return (yield from self._in_chunks("ScoreTokens", items, empty, serde.token_results_from_pb, timeout))

    def rank(
        self,
        prompt: str | Sequence[Message],
        candidates: Sequence[str | Candidate],
        top_n: int,
        members: bool,
        timeout: float | None,
    ) -> Flow[Ranking]:
        """As `RewardClient.rank`."""
        if not candidates:
            return Ranking((), ())
        request = serde.ranking_to_pb(prompt, candidates, top_n)
        request.model, request.include_members = self.model, members
        reply = yield from self._persist("RankCandidates", request, self._deadline(timeout))
        return serde.ranking_from_pb(reply)

    def _in_chunks(
        self,
        method: Method,
        items: Sequence[ScoreItem],
        empty: R,
        read: Callable[[Any, int], list[Any]],
        timeout: float | None,
    ) -> Flow[list[Any]]:
        """Splits by the model's limits, sends the chunks side by side, and puts the results back in order."""
        if not items:
            return []
        deadline = self._deadline(timeout)
        model = self._known or (yield from self._get_model(deadline))
        planned = plan(items, model.limits, empty)
        results: dict[int, Any] = dict(planned.failures)
        try:
            answers = yield Together([self._chunk(method, chunk, read, deadline) for chunk in planned.chunks])
        except (InvalidRequest, ModelNotFound):
            self._known = None  # another model may have come up behind the address
            raise
        for chunk, answer in zip(planned.chunks, answers, strict=True):
            results.update(zip(chunk.positions, answer, strict=True))
        return [results[position] for position in range(len(items))]

    def get_model(self, timeout: float | None) -> Flow[ModelInfo]:
        """Asks anew, and remembers the limits for `score`."""
        return (yield from self._get_model(self._deadline(timeout)))

    def wait_until_ready(self, timeout: float) -> Flow[ModelInfo]:
        """Asks until the model is there. Takes nothing out of the retry budget."""
        deadline, attempt = self._deadline(timeout), 0
        while True:
            attempt += 1
            try:
                return self._remember((yield self._call("GetModel", pb.GetModelRequest(name=self.model), deadline)))
            except (ServerUnavailable, DeadlineExceeded) as error:
                delay = min(1.0, self._retry.delay(attempt, None))
                if self._clock() + delay >= deadline:
                    raise ServerUnavailable(f"not ready after {timeout:g} s: {error}", reason=error.reason) from None
            yield Wait(delay)

    def _chunk(
        self, method: Method, chunk: Chunk[R], read: Callable[[Any, int], list[Any]], deadline: float
    ) -> Flow[list[Any]]:
        reply = yield from self._persist(method, chunk.request, deadline)
        return read(reply, len(chunk.positions))

    def _get_model(self, deadline: float) -> Flow[ModelInfo]:
        return self._remember((yield from self._persist("GetModel", pb.GetModelRequest(name=self.model), deadline)))

    def _remember(self, reply: pb.GetModelResponse) -> ModelInfo:
        self._known = serde.model_from_pb(reply.model)
        return self._known

    def _persist(self, method: Method, request: Request, deadline: float) -> Flow[Any]:
        """One call and its retries, as far as policy, budget and deadline go."""
        self.budget.pay_in()
        attempt = 0
        while True:
            attempt += 1
            try:
                return (yield self._call(method, request, deadline))
            except ServerUnavailable as error:
                delay = self._retry.delay(attempt, error.retry_after)
                in_time = self._clock() + delay < deadline
                tries = attempt < self._retry.max_attempts and in_time
                if not (tries and self.budget.take(free=not self._retry.budgeted)):
                    raise
            except QuotaExceeded as error:
                delay = self._retry.delay(attempt, error.retry_after)
                if error.retry_after is None or self._clock() + delay >= deadline:
                    raise
                attempt -= 1  # it was turned away at the door, and told when to come
            yield Wait(delay)

    def _call(self, method: Method, request: Request, deadline: float) -> Call:
        left = deadline - self._clock()
        if left <= 0:
            raise too_late()
        return Call(method, request, left)

    def _deadline(self, timeout: float | None) -> float:
        return self._clock() + (self._timeout if timeout is None else timeout)


def too_late() -> DeadlineExceeded:
    """What a request ends in whose turn comes after the deadline."""
    return DeadlineExceeded("the deadline passed before the call was made")


def start(flow: Flow[T]) -> Call | Wait | Together:
    """The first command of `flow`."""
    return next(flow)


def resume(flow: Flow[T], outcome: object) -> Call | Wait | Together:
    """The next command after `outcome`; raises StopIteration with the result at the end."""
    return flow.throw(outcome) if isinstance(outcome, RewardError) else flow.send(outcome)
