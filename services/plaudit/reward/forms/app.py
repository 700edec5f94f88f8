"""The forms as one ASGI application over the same models as gRPC's.

    caller ──► [what checks callers] ──► Exchange ──► paths.chosen ──► form.read ──► Calls ──► form.reply ──► caller
                                             └── native ──► RewardServicer ──┘

What checks callers is put around all of it, and needs nothing of a form: what it raises is answered in its words.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plaudit.reward.calls import Calls
from plaudit.reward.counting import Counting, name_request
from plaudit.reward.errors import InvalidRequest, RequestError
from plaudit.reward.forms import native, openapi
from plaudit.reward.forms.exchange import Answered, Answering, Exchange, respond
from plaudit.reward.forms.form import Asked, Told
from plaudit.reward.forms.paths import FORMS, chosen, form_of
from plaudit.reward.forms.problems import problem
from plaudit.reward.forms.reading import parse
from plaudit.reward.forms.settings import FormSettings
from plaudit.reward.items import Answer, Durations, Item, Scored, TokensScored
from plaudit.reward.served import Served
from plaudit.reward.servicer import RewardServicer
from plaudit.reward.status import TABLE
from plaudit.telemetry import tracing
from plaudit_protos.reward.v1 import reward_pb2 as pb

T = TypeVar("T")
LARGE = 1 << 17
"""Bytes of a body that takes milliseconds to read."""


class Gateway:
    """From a body to an answer."""

    def __init__(self, calls: Calls, counting: Counting, servicer: RewardServicer, settings: FormSettings) -> None:
        self._calls, self._counting, self._servicer, self._settings = calls, counting, servicer, settings

    async def form(self, request: Request) -> Response:
        """Any of the foreign forms."""
        return await self._run(request, self._score)

    async def native(self, request: Request) -> Response:
        """`POST /v1/models/{model}:{method}`."""
        return await self._run(request, self._call)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        return await self._run(request, self._list)

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{model}`."""
        return await self._run(request, self._get)

    async def _run(self, request: Request, answer: Answering) -> Response:
        exchange = Exchange(request, form_of(request.url.path), self._settings.timeout)
        return await exchange.run(self._counting, self._calls.limits.max_request_bytes, answer)

    async def _score(self, exchange: Exchange, raw: bytes) -> Response:
        asked = await _beside_the_loop(raw, lambda: _read(exchange, raw))
        name = self._settings.names.get(asked.model, asked.model) or self._settings.model
        exchange.call.model = name
        model = self._calls.choose(name, scores_tokens=asked.scores_tokens)
        began = time.monotonic()
        answer = await self._answer(exchange, model, asked.items)
        for at, outcome in enumerate(answer.outcomes):
            if isinstance(outcome, RequestError):  # there is no place for it beside the others' scores
                exchange.call.code = TABLE[type(outcome)][0]
                return respond(exchange.form, problem(outcome, at))
        scored = [one for one in answer.outcomes if isinstance(one, Scored | TokensScored)]
        told = Told(model.card, scored, self._settings, time.monotonic() - began)
        with tracing.span("encode"):
            return JSONResponse(asked.reply(told), headers=_provenance(told))

    async def _answer(self, exchange: Exchange, model: Served, items: Sequence[Item]) -> Answer:
        """Raises the error of an item that cannot be asked for; nothing is scored then."""
        if not items:
            return Answer([], Durations())
        read = self._calls.read("items", items, lambda item: item)
        self._calls.check_size(read)
        for one in read:
            if isinstance(one, RequestError):
                raise one
        return await self._calls.answer(model, read, exchange.deadline)

    async def _call(self, exchange: Exchange, raw: bytes) -> Response:
        model, _, name = exchange.request.path_params["model"].rpartition(":")
        if name not in native.METHODS:
            raise InvalidRequest("path", f"ends with one of {', '.join(native.METHODS)}, behind a colon")
        method = native.METHODS[name]
        exchange.call.method, exchange.call.model = f"native/{method.name}", model
        request = await _beside_the_loop(raw, lambda: native.read(method, model, parse(raw)))
        if request.request_id:
            name_request(request.request_id)
        reply = await native.call(self._servicer, method)(request, native.Until(exchange.deadline))
        return JSONResponse(native.write(reply))

    async def _list(self, exchange: Exchange, _: bytes) -> Response:
        exchange.call.method = "native/ListModels"
        query = exchange.request.query_params
        size = query.get("page_size", query.get("pageSize", "0"))
        if not (size.isascii() and size.isdigit() and len(size) < 10):
            raise InvalidRequest("page_size", "must be a whole number, not negative")
        token = query.get("page_token", query.get("pageToken", ""))
        wanted = pb.ListModelsRequest(page_size=int(size), page_token=token)
        page = await self._servicer.ListModels(wanted, native.Until(exchange.deadline))
        cards = {name: model.card for name, model in self._calls.catalog.aliases().items()}
        first = self._calls.catalog.find(self._settings.model).card.name
        return JSONResponse(native.listed(page, self._settings.names, cards, first))

    async def _get(self, exchange: Exchange, _: bytes) -> Response:
        exchange.call.method = "native/GetModel"
        given = exchange.request.path_params["model"]
        name = exchange.call.model = self._settings.names.get(given, given)
        reply = await self._servicer.GetModel(pb.GetModelRequest(name=name), native.Until(exchange.deadline))
        return JSONResponse({**native.openai(given, self._calls.catalog.find(name).card), **native.write(reply)})


def application(gateway: Gateway, healthy: Callable[[], bool], around: Callable[[ASGIApp], ASGIApp]) -> ASGIApp:
    """All paths. `around` is what checks callers first; a RequestError of its own is answered in the path's form."""

    async def health(_: Request) -> Response:
        fine = healthy()
        return JSONResponse({"status": "ok" if fine else "unavailable"}, 200 if fine else 503)

    async def version(_: Request) -> Response:
        return JSONResponse({"version": metadata.version("plaudit")})

    async def document(_: Request) -> Response:
        return JSONResponse(openapi.document())

    foreign = [Route(path, gateway.form, methods=["POST", "PUT"]) for path in FORMS]
    own = [
        Route("/v1/models", gateway.models),
        Route("/v1/models/{model:path}", gateway.model),
        Route("/v1/models/{model:path}", gateway.native, methods=["POST"]),
        Route("/openapi.json", document),
        Route("/health", health),
        Route("/version", version),
    ]
    return Answered(around(Starlette(routes=[*foreign, *own])))


async def _beside_the_loop(raw: bytes, work: Callable[[], T]) -> T:
    """Others go on being answered while a large body is read."""
    return work() if len(raw) < LARGE else await asyncio.to_thread(work)


def _read(exchange: Exchange, raw: bytes) -> Asked:
    body = parse(raw)
    form = exchange.form = chosen(exchange.request.url.path, body)
    exchange.call.method = form.name
    return form.read(body)


def _provenance(told: Told) -> dict[str, str]:
    """What a foreign form has no place for."""
    return {"plaudit-model": told.card.resource, "plaudit-truncated-tokens": str(sum(told.truncated))}
