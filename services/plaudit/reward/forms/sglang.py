"""SGLang's native and OpenAI-like endpoints, as a reward model is asked there.

    POST|PUT /classify     {"text": "..." or [...]} or {"input_ids": [...]}  ->  {"embedding": [score], "meta_info"}
    POST /v1/embeddings    {"model", "input"}                                ->  data[].embedding [score]
    POST /v1/classify      refused: SGLang gives the softmax of it, and of one label that is 1 for every text

`text` and `input_ids` may be one or several; what comes back is an object or a list accordingly.
"""

import uuid
from functools import partial

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms.form import Asked, Form, Json, Told
from plaudit.reward.forms.openai import encode, encoder, error, head, items, usage
from plaudit.reward.forms.problems import Problem
from plaudit.reward.forms.reading import is_single, refuse_templates, string, texts_or_ids, whole


def _read_classify(body: Json) -> Asked:
    refuse_templates(body)
    key = "text" if body.get("text") is not None else "input_ids"
    asked = [whole(one, special_tokens=True) for one in texts_or_ids(body, key)]
    return Asked(asked, partial(_classified, is_single(body[key])))


def _classified(single: bool, told: Told) -> object:
    rows = zip(told.values(), told.tokens, strict=True)
    found = [{"embedding": [value], "meta_info": _meta(tokens, told.seconds)} for value, tokens in rows]
    return found[0] if single else found


def _meta(tokens: int, seconds: float) -> dict[str, object]:
    of_text = {"id": uuid.uuid4().hex, "finish_reason": None, "prompt_tokens": tokens}
    return {**of_text, "cached_tokens": 0, "e2e_latency": seconds}


def _classify_error(problem: Problem) -> tuple[int, object]:
    return problem.status, {"error": {"message": problem.text}}


def _read_embeddings(body: Json) -> Asked:
    return Asked(items(body), partial(_embedded, encoder(body)), string(body, "model", ""))


def _embedded(encoding: str, told: Told) -> object:
    values = enumerate(told.values())
    data = [{"object": "embedding", "index": at, "embedding": encode([value], encoding)} for at, value in values]
    return {**head(told, "embd"), "data": data, "usage": usage(told)}


def _read_softmax(_: Json) -> Asked:
    raise InvalidRequest(
        "/v1/classify", "is the softmax of one label, which is 1 for every text: ask /v1/embeddings or /classify"
    )


def _softmax_error(problem: Problem) -> tuple[int, object]:
    return problem.status, {"error": problem.text, "type": "BadRequestError", "code": problem.status}


CLASSIFY = Form("sglang/classify", _read_classify, _classify_error, ("text", "input_ids"))
EMBEDDINGS = Form("sglang/embeddings", _read_embeddings, error)
SOFTMAX = Form("sglang/v1/classify", _read_softmax, _softmax_error)
