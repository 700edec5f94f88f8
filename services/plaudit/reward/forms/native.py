"""Our own JSON: the contract of reward.proto over HTTP, as protobuf's JSON mapping has it, errors of single items too.

    POST /v1/models/{model}:score            ScoreRequest           ->  ScoreResponse
    POST /v1/models/{model}:rankCandidates   RankCandidatesRequest  ->  RankCandidatesResponse
    POST /v1/models/{model}:scoreTokens      ScoreTokensRequest     ->  ScoreTokensResponse
    GET  /v1/models/{model}                                         ->  GetModelResponse, OpenAI's model beside it
    GET  /v1/models?page_size=&page_token=                          ->  ListModelsResponse, OpenAI's list beside it

`{model}` may be `{model}/versions/{version}`. Fields are read in lowerCamelCase and snake_case, written in the first.
OpenAI's clients look for models at the same addresses, so a reply has both: they read `data`, ours read `models`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms.form import Asked, Form, Json
from plaudit.reward.forms.problems import Problem
from plaudit.reward.items import Card, Deadline
from plaudit.reward.servicer import RewardServicer
from plaudit.reward.status import to_status
from plaudit_protos.reward.v1 import reward_pb2 as pb

OWNER = "plaudit"
UNKNOWN = re.compile(r'has no field named "(\w+)"')


class Method(NamedTuple):
    """One RPC."""

    name: str
    request: type[Message]
    response: type[Message]


METHODS: Mapping[str, Method] = {
    "score": Method("Score", pb.ScoreRequest, pb.ScoreResponse),
    "rankCandidates": Method("RankCandidates", pb.RankCandidatesRequest, pb.RankCandidatesResponse),
    "scoreTokens": Method("ScoreTokens", pb.ScoreTokensRequest, pb.ScoreTokensResponse),
}


class Until:
    """A deadline where gRPC has its context."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def time_remaining(self) -> float | None:
        """Seconds."""
        return self._deadline.left()


def read(method: Method, model: str, body: Json) -> Any:
    """The request; the model is the one in the address. Raises InvalidRequest."""
    try:
        request: Any = json_format.ParseDict(dict(body), method.request())
    except json_format.ParseError as error:  # its text may hold the caller's
        unknown = UNKNOWN.search(str(error))
        problem = f"has no field '{unknown[1]}'" if unknown else f"is no {method.request.__name__}"
        raise InvalidRequest("body", problem) from None
    name = f"models/{model}"
    if request.model not in ("", name):
        raise InvalidRequest("model", "is another one than in the address")
    request.model = name
    return request


def call(servicer: RewardServicer, method: Method) -> Callable[[Any, Until], Awaitable[Message]]:
    """What answers it."""
    found: Callable[[Any, Until], Awaitable[Message]] = getattr(servicer, method.name)
    return found


def write(message: Message) -> dict[str, Any]:
    """In lowerCamelCase."""
    return json_format.MessageToDict(message)


def listed(
    page: pb.ListModelsResponse, names: Mapping[str, str], cards: Mapping[str, Card], first: str
) -> dict[str, Any]:
    """OpenAI's list, with what callers may call a model besides its name, and the page of ours.

    Scripts take the first of the list, so that is the model which answers where none is named.
    """
    shown = list(dict.fromkeys(model.name.split("/")[1] for model in page.models))
    shown = sorted(shown, key=lambda name: name != first)
    shown += [other for other, name in names.items() if name in shown]
    data = [openai(name, cards[names.get(name, name)]) for name in shown]
    return {"object": "list", "data": data, **write(page)}


def openai(name: str, card: Card) -> dict[str, Any]:
    """A model as OpenAI's clients know one."""
    return {"id": name, "object": "model", "created": int(card.load_time.timestamp()), "owned_by": OWNER}


def error(problem: Problem) -> tuple[int, object]:
    """A google.rpc.Status with its details, as Google's services write it."""
    status = to_status(problem.error or Exception())
    details = [json_format.MessageToDict(detail) for detail in status.details]
    found = {"code": problem.status, "message": problem.text, "status": Code.Name(problem.code), "details": details}
    return problem.status, {"error": found}


def _no_form(_: Json) -> Asked:
    raise InvalidRequest("path", HTTPStatus.NOT_FOUND.phrase)


FORM = Form("native", _no_form, error)
"""For its errors: what it reads and writes are messages."""
