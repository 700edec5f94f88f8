"""A model folder as something that serves: loaded, warmed up, checked against its own record, behind a queue."""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.model import Ids
from plaudit.reward.backends.process import ModelFailed, ModelProcess, Order
from plaudit.reward.batcher import Budget, OutOfMemory
from plaudit.reward.calibration import Calibration
from plaudit.reward.drift import drift
from plaudit.reward.errors import DeviceLost, NonfiniteScore, RequestError
from plaudit.reward.folder import NAME, RewardFolder, read, unwritten, verify
from plaudit.reward.items import Card, Drift, Item, Outcome, Scored, TokenScore, TokensScored, finite
from plaudit.reward.loading import Values, load_tokenizer, scores_tokens
from plaudit.reward.metrics import Metrics
from plaudit.reward.queued import QueuedModel, Ready, Work
from plaudit.reward.rendering import Rendered, render
from plaudit.reward.settings import ModelSettings, ServerSettings
from plaudit.reward.tokenizing import TokenizerPool
from plaudit.rows import read_rows
from plaudit.telemetry.quiet import quiet_libraries

log = logging.getLogger(__name__)

MOST_REFERENCES = 2000
"""Their pairs, two million then, are compared one by one."""


@dataclass(frozen=True)
class Classifier:
    """A model folder in memory, checked. `backend` is a process: whoever has this closes it."""

    card: Card
    calibration: Calibration | None
    tokenizers: TokenizerPool
    backend: ModelProcess
    budget: Budget


def load(model: ModelSettings, folder: Path, settings: ServerSettings) -> Classifier:
    """Loads, warms up and verifies the self-test; takes as long as the weights are large. Raises ConfigurationError."""
    quiet_libraries()
    per_token = scores_tokens(folder)
    tokenizer = load_tokenizer(folder)
    record = _record(folder, model, tokenizer)
    if per_token:
        _check_token_classifier(folder, model, record, tokenizer)
    references = [] if per_token else _references(model, record, tokenizer)
    order = Order(folder, model.dtype, model.device, record.rendering.max_tokens, _threads(settings))
    with _whole(folder), ExitStack() as undo:
        exact = _exact(model, record, references, order)
        backend = undo.enter_context(ModelProcess(order))
        verify(folder, record, tokenizer, lambda ids: backend.alone(ids)[-1], backend.self_test_tolerance)
        budget = _budget(backend, settings)
        found = _drift(folder, exact, [backend.alone(ids)[-1] for ids in references] if exact else [])
        _report(model, budget, found)
        tokenizers = TokenizerPool(
            tokenizer, record.rendering, backend.vocabulary, settings.tokenizer_threads, model.name, spans=per_token
        )
        card = _card(model, record, tokenizers.sha256, per_token, found)
        undo.pop_all()
    return Classifier(card, record.calibration, tokenizers, backend, budget)


def serve(loaded: Classifier, settings: ServerSettings, metrics: Metrics) -> QueuedModel[Ids, Values]:
    """Behind a queue and a device thread of its own, which waits for the model's process."""

    async def prepare(items: Sequence[Item]) -> list[Ready[Ids] | RequestError]:
        return [one if isinstance(one, RequestError) else _ready(one) for one in await loaded.tokenizers.render(items)]

    def score(ready: Ready[Ids], values: Values, cached: bool) -> Outcome:
        rendered, (raw,) = ready.rendered, values
        calibrated = loaded.calibration.apply(raw) if loaded.calibration else raw
        return finite(Scored(calibrated, raw, len(rendered.input_ids), rendered.truncated_tokens, cached))

    def close() -> None:
        loaded.tokenizers.close()
        loaded.backend.close()

    return QueuedModel(
        loaded.card,
        Work(prepare, loaded.backend.forward, _score_tokens if loaded.card.scores_tokens else score),
        settings.limits,
        metrics,
        budget=loaded.budget,
        lost=loaded.backend.lost,
        on_close=close,
    )


def _threads(settings: ServerSettings) -> int:
    """Torch's, of one model: all models together get this server's cores."""
    models = sum(model.model is not None for model in settings.models)  # later ones come in the place of these
    return settings.threads or max(1, _cores() // max(1, models))


def _cores() -> int:
    """Those that this process may use, where the system says (Linux); else the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """A model whose process ends or fails while it is loaded cannot be served."""
    try:
        yield
    except OutOfMemory:
        raise ConfigurationError(f"{folder} has no room on its device: unload another model first") from None
    except ModelFailed:
        log.exception("a model failed while it was loaded")
        raise ConfigurationError(f"{folder}: the model failed while it was loaded: the server's log has how") from None
    except DeviceLost:
        raise ConfigurationError(
            f"{folder}: the model's process ended while it was loaded: is there enough memory for it?"
        ) from None


def _budget(backend: ModelProcess, settings: ServerSettings) -> Budget:
    most = settings.limits.max_batch_tokens
    return Budget(most, items=1) if settings.deterministic else backend.best_budget(most)


def _report(model: ModelSettings, budget: Budget, found: Drift | None) -> None:
    """What was measured, for whoever reads the log."""
    padding = budget.waste if math.isfinite(budget.waste) else None  # JSON has no infinity
    log.info("model verified", extra={"model": model.name, "batch_tokens": budget.cost, "padding": padding})
    if found is not None:
        log.info("drift from float32", extra={"model": model.name, **found._asdict()})
    elif model.dtype != "float32":
        log.warning("drift from float32 is not known: give the model `references`", extra={"model": model.name})


def _ready(rendered: Rendered) -> Ready[Ids]:
    return Ready(tuple(rendered.input_ids), len(rendered.input_ids), rendered)


def _score_tokens(ready: Ready[Ids], values: Values, cached: bool) -> Outcome:
    """Of the tokens of the response alone. One that has no finite score leaves the item without any."""
    ids, cut, spans = ready.rendered
    tokens = tuple(TokenScore(ids[span.position], values[span.position], span.begin, span.end) for span in spans)
    if not all(math.isfinite(token.score) for token in tokens):
        return NonfiniteScore()
    return TokensScored(tokens, len(ids), cut, cached)


def _record(folder: Path, model: ModelSettings, tokenizer: PreTrainedTokenizerBase) -> RewardFolder:
    """What the folder says about itself, or what the settings say where it says nothing."""
    record = read(folder)
    if record is not None and model.rendering is not None:
        raise ConfigurationError(f"{folder} has its own rendering ({NAME}): remove models.{model.name}.rendering")
    if record is not None:
        return record
    if model.rendering is None:
        raise ConfigurationError(
            f"{folder} has no {NAME}, so how text is rendered for it is unknown: give the model a `rendering` "
            "(kind, max_tokens, ...), as it was trained"
        )
    return unwritten(folder, model.rendering, tokenizer)


def _check_token_classifier(
    folder: Path, model: ModelSettings, record: RewardFolder, tokenizer: PreTrainedTokenizerBase
) -> None:
    """What is for one score of a whole row has no meaning for the scores of its tokens."""
    if not tokenizer.is_fast:
        raise ConfigurationError(f"{folder}: scores of tokens need a fast tokenizer (tokenizer.json): save one there")
    if record.calibration is not None:
        raise ConfigurationError(f"{folder}: {NAME} has a calibration, and scores of tokens have none: write it anew")
    if model.references is not None:
        raise ConfigurationError(f"models.{model.name}: references measure whole scores, and this one scores tokens")


def _references(model: ModelSettings, record: RewardFolder, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The ids by which the drift of a shorter number format is measured: the operator's rows, else the self-test's."""
    if model.dtype == "float32":
        return []
    if model.references is None:
        return [list(case.input_ids) for case in record.self_test]
    rows = list(read_rows(model.references))
    if len(rows) > MOST_REFERENCES:
        raise ConfigurationError(
            f"models.{model.name}.references: {len(rows)} rows: give at most {MOST_REFERENCES} (references.limit)"
        )
    found = []
    for row in rows:
        try:
            found.append(render(tokenizer, record.rendering, row.text("prompt"), row.text("response")).input_ids)
        except RequestError as error:
            raise row.error("prompt", f"and response cannot be rendered: {error}") from None
    return found


def _exact(
    model: ModelSettings, record: RewardFolder, references: Sequence[Sequence[int]], order: Order
) -> list[float]:
    """The references' scores in float32: recorded ones, else of a first copy that is gone before the second comes."""
    if not references:
        return []
    if model.references is None:
        return [case.raw_score for case in record.self_test]
    with ModelProcess(order._replace(dtype="float32", device="cpu")) as exact:
        return [exact.alone(ids)[-1] for ids in references]


def _drift(folder: Path, exact: Sequence[float], found: Sequence[float]) -> Drift | None:
    try:
        return drift(exact, found) if exact else None
    except ValueError as error:
        raise ConfigurationError(f"{folder}: {error}: give other references, or serve it in float32") from None


def _card(
    model: ModelSettings, record: RewardFolder, tokenizer_sha256: str, per_token: bool, found: Drift | None
) -> Card:
    return Card(
        name=model.name,
        version=record.version,
        weights_sha256=record.weights_sha256,
        rendering_sha256=record.rendering_sha256,
        tokenizer_sha256=tokenizer_sha256,
        calibration_id=record.calibration.id if record.calibration else "",
        dtype=model.dtype,
        display_name=record.display_name or model.name,
        max_tokens=record.rendering.max_tokens,
        truncation=record.rendering.truncation,
        scores_tokens=per_token,
        drift=found,
    )
