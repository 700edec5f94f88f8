"""RewardService: decode, call, encode. Errors are raised here and become statuses in the interceptor."""

from typing import Any

import grpc.aio

from plaudit.reward.catalog import Catalog
from plaudit.reward.errors import BatchTooLarge, InvalidRequest, RequestError
from plaudit.reward.items import Answer, Deadline, Item, Outcome
from plaudit.reward.metrics import Metrics
from plaudit.reward.serde import answer_to_pb, card_to_pb, item_from_pb
from plaudit.reward.served import Served
from plaudit.reward.settings import LimitSettings
from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]
PAGE, LARGEST_PAGE = 50, 100


class RewardServicer(RewardServiceServicer):
    """The contract of reward.proto over a catalog of models."""

    def __init__(self, catalog: Catalog, limits: LimitSettings, metrics: Metrics, deterministic: bool) -> None:
        self._catalog, self._limits, self._metrics, self._deterministic = catalog, limits, metrics, deterministic

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:  # noqa: N802
        """See the .proto."""
        model = self._catalog.choose(request.model)
        if not request.items:
            raise InvalidRequest("items", "at least one is required")
        if len(request.items) > self._limits.max_items:
            raise BatchTooLarge(f"{len(request.items)} items; ModelLimits.max_items is {self._limits.max_items}")
        decoded = [self._decode(wire) for wire in request.items]
        answer = await _score_valid(model, decoded, Deadline.within(context.time_remaining()))
        self._metrics.answered(model.card.name, answer)
        return answer_to_pb(answer, request.items, model.card)

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
        return card_to_pb(model.card, self._limits, self._deterministic)

    def _decode(self, wire: pb.ScoreItem) -> Item | RequestError:
        try:
            return item_from_pb(wire, self._limits.max_item_bytes)
        except RequestError as error:
            return error


async def _score_valid(model: Served, decoded: list[Item | RequestError], deadline: Deadline) -> Answer:
    """Scores the items that could be read; the others keep their error, in their place."""
    answer = await model.score([item for item in decoded if isinstance(item, Item)], deadline)
    results = iter(answer.outcomes)
    outcomes: list[Outcome] = [next(results) if isinstance(item, Item) else item for item in decoded]
    return Answer(outcomes, answer.durations)
