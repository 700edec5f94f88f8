"""RewardService: decode, call, encode. Errors are raised here and become statuses in the interceptor."""

from typing import Protocol

from plaudit.reward import serde
from plaudit.reward.calls import Calls
from plaudit.reward.errors import InvalidRequest
from plaudit.reward.items import Deadline
from plaudit.reward.ranking import rank
from plaudit.reward.served import Served
from plaudit.telemetry import tracing
from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceServicer

PAGE, LARGEST_PAGE = 50, 100


class Context(Protocol):
    """What is asked of gRPC's ServicerContext, so that JSON over HTTP can call the same methods."""

    def time_remaining(self) -> float | None:
        """Seconds; None: no end."""
        ...


class RewardServicer(RewardServiceServicer):
    """The contract of reward.proto over a catalog of models."""

    def __init__(self, calls: Calls, deterministic: bool) -> None:
        self._calls, self._deterministic = calls, deterministic

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:  # noqa: N802
        """See the .proto."""
        model = self._calls.choose(request.model, scores_tokens=False)
        items = self._calls.read("items", request.items, serde.item_from_pb)
        answer = await self._calls.answer(model, items, _deadline(context))
        with tracing.span("encode"):
            return serde.scores_to_pb(answer, request, model.card)

    async def RankCandidates(  # noqa: N802
        self, request: pb.RankCandidatesRequest, context: Context
    ) -> pb.RankCandidatesResponse:
        """See the .proto."""
        model = self._calls.choose(request.model, scores_tokens=False)
        if request.top_n < 0:
            raise InvalidRequest("top_n", "must not be negative")
        prompt = serde.prompt_from_pb(request)
        items = self._calls.read("candidates", request.candidates, lambda wire: serde.candidate_from_pb(prompt, wire))
        self._calls.check_size(items)
        answer = await self._calls.answer(model, items, _deadline(context))
        with tracing.span("encode"):
            return serde.ranking_to_pb(answer, rank(answer.outcomes, request.top_n), request, model.card)

    async def ScoreTokens(  # noqa: N802
        self, request: pb.ScoreTokensRequest, context: Context
    ) -> pb.ScoreTokensResponse:
        """See the .proto."""
        model = self._calls.choose(request.model, scores_tokens=True)
        items = self._calls.read("items", request.items, serde.item_from_pb)
        answer = await self._calls.answer(model, items, _deadline(context))
        with tracing.span("encode"):
            return serde.token_scores_to_pb(answer, request, model.card)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """See the .proto."""
        return pb.GetModelResponse(model=self.describe(self._calls.catalog.find(request.name)))

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """See the .proto; the page token is the last resource name of the page before."""
        if request.page_size < 0:
            raise InvalidRequest("page_size", "must not be negative")
        size = min(request.page_size or PAGE, LARGEST_PAGE)
        rest = [model for model in self._calls.catalog.all() if model.card.resource > request.page_token]
        token = rest[size - 1].card.resource if len(rest) > size else ""
        return pb.ListModelsResponse(models=[self.describe(model) for model in rest[:size]], next_page_token=token)

    def describe(self, model: Served) -> pb.ModelInfo:
        """As callers are told of it."""
        aliased = self._calls.catalog.is_aliased(model)
        return serde.card_to_pb(model.card, self._calls.limits, self._deterministic, aliased)


def _deadline(context: Context) -> Deadline:
    return Deadline.within(context.time_remaining())
