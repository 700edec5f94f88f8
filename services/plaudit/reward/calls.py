"""What a call is, whoever asks: gRPC and the HTTP forms decode into items and encode what comes of them.

choose    the model that is named, one that answers this kind of call
read      the items; one that cannot be read keeps its error, in its place
answer    the outcome of each, counted
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from plaudit.reward.catalog import Catalog
from plaudit.reward.errors import BatchTooLarge, InvalidItem, InvalidRequest, RequestError, WrongMethod
from plaudit.reward.items import Answer, Deadline, Item, Outcome
from plaudit.reward.metrics import Metrics
from plaudit.reward.served import Served
from plaudit.reward.settings import LimitSettings
from plaudit.telemetry import tracing

Wire = TypeVar("Wire")
Read = Sequence[Item | RequestError]


class Calls:
    """Over a catalog of models."""

    def __init__(self, catalog: Catalog, limits: LimitSettings, metrics: Metrics) -> None:
        self.catalog, self.limits, self._metrics = catalog, limits, metrics

    def choose(self, name: str, *, scores_tokens: bool | None) -> Served:
        """As Catalog.choose; raises WrongMethod for a model of the other kind. None: either kind will do."""
        model = self.catalog.choose(name)
        if scores_tokens not in (None, model.card.scores_tokens):
            raise WrongMethod(model.card.name, "ScoreTokens" if model.card.scores_tokens else "Score, RankCandidates")
        return model

    def read(self, field: str, wires: Sequence[Wire], read: Callable[[Wire], Item]) -> Read:
        """Each of `wires` as an item, or why it is none. Raises InvalidRequest and BatchTooLarge for all of them."""
        if not wires:
            raise InvalidRequest(field, "at least one is required")
        if len(wires) > self.limits.max_items:
            raise BatchTooLarge(f"{len(wires)} {field}; ModelLimits.max_items is {self.limits.max_items}")
        return [self._read(read, wire) for wire in wires]

    def check_size(self, items: Iterable[Item | RequestError]) -> None:
        """Of a small request that means a large one, a prompt once for each candidate. Raises BatchTooLarge."""
        size, limit = sum(item.size for item in items if isinstance(item, Item)), self.limits.max_request_bytes
        if size > limit:
            raise BatchTooLarge(f"prompt and candidates are {size} bytes; ModelLimits.max_request_bytes is {limit}")

    async def answer(self, model: Served, items: Read, deadline: Deadline) -> Answer:
        """Scores the items that could be read; the others' errors are their outcomes."""
        valid = [item for item in items if isinstance(item, Item)]
        began = time.time_ns()
        with self.catalog.uses.using(model):  # in one go with `choose`: nobody has closed it in between
            answer = await model.score(valid, deadline)
        tracing.stages(began, answer.durations._asdict())
        if len(valid) < len(items):
            results = iter(answer.outcomes)
            outcomes: list[Outcome] = [next(results) if isinstance(item, Item) else item for item in items]
            answer = Answer(outcomes, answer.durations)
        self._metrics.answered(model.card.name, answer)
        return answer

    def _read(self, read: Callable[[Wire], Item], wire: Wire) -> Item | RequestError:
        limit = self.limits.max_item_bytes
        try:
            item = read(wire)
        except RequestError as error:
            return error
        if item.size > limit:
            return InvalidItem("input", f"{item.size} bytes; ModelLimits.max_item_bytes is {limit}")
        return item
