"""vLLM's pooling server.

    POST /classify                        {"input": texts or ids, or "messages": [...]}       -> data[].probs [score]
    POST /pooling                         the same, with `task` and `encoding_format`         -> data[].data [score]
    POST /score /v1/score                 a prompt and its response, 1:1, 1:N or N:N          -> data[].score
    POST /rerank /v1/rerank /v2/rerank    {"query", "documents", "top_n"?, "model"?}          -> results[], best first

`use_activation: true` (or, as older clients have it, `activation` or `softmax`) asks for a sigmoid, false for none.
vLLM itself squeezes where nothing is said; a reward model's score is no probability, so here it is squeezed only where
asked for, unless `forms.activation` is `theirs`. One label has no softmax: it would be 1 for every text.
"""

from collections.abc import Sequence
from functools import partial

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms.form import Asked, Form, Json, Told
from plaudit.reward.forms.openai import encode, encoder, error, head, items, no_cut, usage
from plaudit.reward.forms.reading import flag, pair, refuse_templates, string, whole_number

PAIRS = (("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2"))
TASKS = {None: None, "classify": False, "score": False, "token_classify": True}


def _activation(body: Json) -> bool | None:
    return flag(body, "use_activation", "activation", "softmax")


def _read_classify(body: Json) -> Asked:
    return Asked(items(body), partial(_classified, _activation(body)), string(body, "model", ""))


def _classified(activation: bool | None, told: Told) -> object:
    values = enumerate(told.values(activation, theirs=True))
    data = [{"index": at, "label": None, "probs": [value], "num_classes": 1} for at, value in values]
    return {**head(told, "classify"), "data": data, "usage": usage(told)}


def _read_pooling(body: Json) -> Asked:
    task = body.get("task")
    if not isinstance(task, str | None) or task not in TASKS:
        raise InvalidRequest("task", "must be classify or token_classify: this server scores")
    reply = partial(_pooled, _activation(body), encoder(body))
    return Asked(items(body), reply, string(body, "model", ""), TASKS[task])


def _pooled(activation: bool | None, encoding: str, told: Told) -> object:
    """Of a model that scores tokens: one row for each token that has a score."""
    if told.card.scores_tokens:
        rows = told.token_values(activation, theirs=True)
        found = [encode(row, encoding) if encoding == "base64" else [[one] for one in row] for row in rows]
    else:
        found = [encode([value], encoding) for value in told.values(activation, theirs=True)]
    data = [{"index": at, "object": "pooling", "data": one} for at, one in enumerate(found)]
    return {**head(told, "pool"), "data": data, "usage": usage(told)}


def _read_score(body: Json) -> Asked:
    refuse_templates(body)
    no_cut(body)
    left, right = next(((one, other) for one, other in PAIRS if one in body and other in body), PAIRS[0])
    prompts, responses = _texts(body, left), _texts(body, right)
    if len(prompts) == 1:
        prompts *= len(responses)
    if len(prompts) != len(responses):
        raise InvalidRequest(left, f"there are {len(prompts)}, and {len(responses)} in {right}")
    return Asked(list(map(pair, prompts, responses)), partial(_scored, _activation(body)), string(body, "model", ""))


def _scored(activation: bool | None, told: Told) -> object:
    values = enumerate(told.values(activation, theirs=True))
    data = [{"index": at, "object": "score", "score": value} for at, value in values]
    return {**head(told, "score"), "data": data, "usage": usage(told)}


def _read_rerank(body: Json) -> Asked:
    refuse_templates(body)
    no_cut(body)
    query, documents = string(body, "query"), _texts(body, "documents")
    reply = partial(_reranked, documents, whole_number(body, "top_n", 0), _activation(body))
    return Asked([pair(query, document) for document in documents], reply, string(body, "model", ""))


def _reranked(documents: Sequence[str], top_n: int | None, activation: bool | None, told: Told) -> object:
    values = told.values(activation, theirs=True)
    best = sorted(range(len(values)), key=lambda at: -values[at])[: top_n or None]
    results = [{"index": at, "document": {"text": documents[at]}, "relevance_score": values[at]} for at in best]
    return {**head(told, "rerank"), "results": results, "usage": usage(told)}


def _texts(body: Json, key: str) -> list[str]:
    """Strings, or objects with a `text`; at least one."""
    value = body.get(key)
    listed = value if isinstance(value, list) else [value]
    found = [one.get("text") if isinstance(one, dict) else one for one in listed]
    if not found or not all(isinstance(one, str) for one in found):
        raise InvalidRequest(key, "must be a string or a list of strings, at least one")
    return [str(one) for one in found]


KEYS = ("input", "messages")
CLASSIFY = Form("vllm/classify", _read_classify, error, KEYS)
POOLING = Form("vllm/pooling", _read_pooling, error)
SCORE = Form("vllm/score", _read_score, error)
RERANK = Form("vllm/rerank", _read_rerank, error, ("documents",))
