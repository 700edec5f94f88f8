"""RewardService: decode, call, encode. Errors are raised here and become statuses in the interceptor."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc.aio

from plaudit.reward import serde
from plaudit.reward.catalog import Catalog
from plaudit.reward.errors import BatchTooLarge, InvalidItem, InvalidRequest, RequestError, WrongMethod
from plaudit.reward.items import Answer, Deadline, Item, Outcome
from plaudit.reward.metrics import Metrics
from plaudit.reward.ranking import rank
from plaudit.reward.served import Served
from plaudit.reward.settings import LimitSettings
from plaudit.telemetry import tracing
from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
Wire = TypeVar("Wire")
PAGE, LARGEST_PAGE = 50, 100


class RewardServicer(RewardServiceServicer):
    """The contract of reward.proto over a catalog of models."""

    def __init__(self, catalog: Catalog, limits: LimitSettings, metrics: Metrics, deterministic: bool) -> None:
        self._catalog, self._limits, self._metrics, self._deterministic = catalog, limits, metrics, deterministic

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:  # noqa: N802
        """See the .proto."""
        model = self._choose(request.model, scores_tokens=False)
        items = self._read("items", request.items, serde.item_from_pb)
        answer = await self._answer(model, items, context)
        with tracing.span("encode"):
            return serde.scores_to_pb(answer, request, model.card)

    async def RankCandidates(  # noqa: N802
        self, request: pb.RankCandidatesRequest, context: Context
    ) -> pb.RankCandidatesResponse:
        """See the .proto."""
        model = self._choose(request.model, scores_tokens=False)
        if request.top_n < 0:
            raise InvalidRequest("top_n", "must not be negative")
        prompt = serde.prompt_from_pb(request)
        items = self._read("candidates", request.candidates, lambda wire: serde.candidate_from_pb(prompt, wire))
        size = sum(item.size for item in items if isinstance(item, Item))
        if size > self._limits.max_request_bytes:  # a small request would be a large one, the prompt once for each
            limit = self._limits.max_request_bytes
            raise BatchTooLarge(f"prompt and candidates are {size} bytes; ModelLimits.max_request_bytes is {limit}")
        answer = await self._answer(model, items, context)
        with tracing.span("encode"):
            return serde.ranking_to_pb(answer, rank(answer.outcomes, request.top_n), request, model.card)

    async def ScoreTokens(  # noqa: N802
        self, request: pb.ScoreTokensRequest, context: Context
    ) -> pb.ScoreTokensResponse:
        """See the .proto."""
        model = self._choose(request.model, scores_tokens=True)
        items = self._read("items", request.items, serde.item_from_pb)
        answer = await self._answer(model, items, context)
        with tracing.span("encode"):
            return serde.token_scores_to_pb(answer, request, model.card)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """See the .proto."""
        return pb.GetModelResponse(model=self._describe(self._catalog.find(request.name)))

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """See the .proto; the page token is the last name of the page before."""
        if request.page_size < 0:
            raise InvalidRequest("page_size", "must not be negative")
        size = min(request.page_size or PAGE, LARGEST_PAGE)
        rest = [model for model in self._catalog.all() if model.card.name > request.page_token]
        token = rest[size - 1].card.name if len(rest) > size else ""
        return pb.ListModelsResponse(models=[self._describe(model) for model in rest[:size]], next_page_token=token)

    def _describe(self, model: Served) -> pb.ModelInfo:
        return serde.card_to_pb(model.card, self._limits, self._deterministic)

    def _choose(self, name: str, *, scores_tokens: bool) -> Served:
        model = self._catalog.choose(name)
        if model.card.scores_tokens is not scores_tokens:
            raise WrongMethod(model.card.name, "ScoreTokens" if model.card.scores_tokens else "Score, RankCandidates")
        return model

    def _read(self, field: str, wires: Sequence[Wire], read: Callable[[Wire], Item]) -> list[Item | RequestError]:
        """The items of a call; one that cannot be read keeps its error, in its place."""
        if not wires:
            raise InvalidRequest(field, "at least one is required")
        if len(wires) > self._limits.max_items:
            raise BatchTooLarge(f"{len(wires)} {field}; ModelLimits.max_items is {self._limits.max_items}")
        items: list[Item | RequestError] = []
        for wire in wires:
            try:
                item = read(wire)
                items.append(item if item.size <= self._limits.max_item_bytes else self._too_large(item))
            except RequestError as error:
                items.append(error)
        return items

    def _too_large(self, item: Item) -> InvalidItem:
        return InvalidItem("input", f"{item.size} bytes; ModelLimits.max_item_bytes is {self._limits.max_item_bytes}")

    async def _answer(self, model: Served, items: list[Item | RequestError], context: Context) -> Answer:
        """Scores the items that could be read; the others' errors are their outcomes."""
        valid = [item for item in items if isinstance(item, Item)]
        began = time.time_ns()
        answer = await model.score(valid, Deadline.within(context.time_remaining()))
        tracing.stages(began, answer.durations._asdict())
        if len(valid) < len(items):
            results = iter(answer.outcomes)
            outcomes: list[Outcome] = [next(results) if isinstance(item, Item) else item for item in items]
            answer = Answer(outcomes, answer.durations)
        self._metrics.answered(model.card.name, answer)
        return answer
