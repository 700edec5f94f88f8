"""text-embeddings-inference.

    POST /predict   {"inputs": "one" | ["prompt", "response"] | [["one"], ["prompt", "response"], ...], "raw_scores"?}
    ->              [{"score", "label"}], or one such list for each item of a batch
    POST /rerank    {"query", "texts", "raw_scores"?, "return_text"?}  ->  [{"index", "score", "text"?}], best first

Two strings are a pair, not two items. `raw_scores: false` is a sigmoid, as there; not said, it is none here, unless
`forms.activation` is `theirs`.
"""

from collections.abc import Sequence
from functools import partial

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms.form import Asked, Form, Json, Told
from plaudit.reward.forms.problems import Problem
from plaudit.reward.forms.reading import choice, flag, pair, string, strings, whole
from plaudit.reward.items import Item
from plaudit.reward.whole import Cut

STATUS = {400: 422, 500: 424}
"""Theirs: what does not validate, and what the model itself cannot do."""
KINDS = {404: "Validation", 413: "Validation", 422: "Validation", 424: "Backend", 503: "Unhealthy", 504: "Backend"}


def _read_predict(body: Json) -> Asked:
    inputs = body.get("inputs")
    batch = isinstance(inputs, list) and bool(inputs) and all(isinstance(one, list) for one in inputs)
    found = [_item(one, body) for one in inputs] if isinstance(inputs, list) and batch else [_item(inputs, body)]
    return Asked(found, partial(_predicted, batch, _activation(body)))


def _item(given: object, body: Json) -> Item:
    """A text, around which special tokens are added, or a pair; either may stand in a list."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or len(texts) not in (1, 2) or not all(isinstance(one, str) for one in texts):
        raise InvalidRequest("inputs", "must be a text, a pair of texts, or a list of lists of one or two texts")
    return pair(*texts) if len(texts) == 2 else whole(texts[0], special_tokens=True, cut=_cut(body))


def _cut(body: Json) -> Cut | None:
    side = choice(body, "truncation_direction", ("right", "left"))
    return Cut(side="left" if side == "left" else "right") if flag(body, "truncate") else None


def _activation(body: Json) -> bool | None:
    raw = flag(body, "raw_scores")
    return None if raw is None else not raw


def _predicted(batch: bool, activation: bool | None, told: Told) -> object:
    found = [[{"score": value, "label": told.card.name}] for value in told.values(activation, theirs=True)]
    return found if batch else found[0]


def _read_rerank(body: Json) -> Asked:
    query, texts = string(body, "query"), strings(body, "texts")
    if not texts:
        raise InvalidRequest("texts", "at least one is required")
    shown = texts if flag(body, "return_text") else None
    return Asked([pair(query, text) for text in texts], partial(_reranked, shown, _activation(body)))


def _reranked(shown: Sequence[str] | None, activation: bool | None, told: Told) -> object:
    values = told.values(activation, theirs=True)
    best = sorted(range(len(values)), key=lambda at: -values[at])
    return [{"index": at, "score": values[at]} | ({"text": shown[at]} if shown else {}) for at in best]


def _error(problem: Problem) -> tuple[int, object]:
    status = STATUS.get(problem.status, problem.status)
    kind = "Overloaded" if problem.reason in ("QUEUE_FULL", "RATE_LIMITED") else KINDS.get(status, "Backend")
    return status, {"error": problem.text, "error_type": kind}


PREDICT = Form("tei/predict", _read_predict, _error)
RERANK = Form("tei/rerank", _read_rerank, _error, ("texts",))
