"""From one entry of the settings to something that serves: a rule, a function, or a model folder."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.function import FunctionModel, find_function, source_of
from plaudit.reward.backends.rule import rule
from plaudit.reward.errors import RequestError
from plaudit.reward.items import Card, Item, text_of
from plaudit.reward.metrics import Metrics
from plaudit.reward.queued import QueuedModel, Ready
from plaudit.reward.rendering import Rendered
from plaudit.reward.served import Served
from plaudit.reward.settings import CallableSettings, DigitsSettings, KeywordSettings, ModelSettings, ServerSettings
from plaudit.reward.workers import DaemonPool
from plaudit.telemetry.quiet import quiet_libraries

if TYPE_CHECKING:  # imported only where a model is served: rules need neither torch nor transformers
    from transformers import PreTrainedTokenizerBase

    from plaudit.reward.backends.model import ModelBackend
    from plaudit.reward.folder import RewardFolder
    from plaudit.reward.tokenizing import TokenizerPool

T = TypeVar("T")


async def assemble(model: ModelSettings, folder: Path | None, settings: ServerSettings, metrics: Metrics) -> Served:
    """Raises ConfigurationError. Loading weights blocks a thread of its own, not the loop."""
    if model.rule is not None:
        return _from_rule(model.name, model.rule, settings, metrics)
    if model.callable is not None:
        return _from_function(model.name, model.callable)
    assert folder is not None
    return _from_folder(await in_thread(lambda: _load(model, folder, settings)), settings, metrics)


async def in_thread(work: Callable[[], T]) -> T:
    """Off the loop, on a thread that does not keep the process from ending."""
    pool = DaemonPool(1, "load")
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    finally:
        pool.shutdown()


def _from_rule(
    name: str, definition: DigitsSettings | KeywordSettings, settings: ServerSettings, metrics: Metrics
) -> Served:
    async def prepare(items: Sequence[Item]) -> list[Ready[tuple[str, str]] | RequestError]:
        return [_as_text(item) for item in items]

    digest = _sha256(json.dumps(asdict(definition), sort_keys=True).encode())
    card = _card_of_text(name, digest, f"rule: {definition.kind}")
    return QueuedModel(card, prepare, rule(definition), limits=settings.limits, metrics=metrics)


def _as_text(item: Item) -> Ready[tuple[str, str]] | RequestError:
    try:
        return Ready(text_of(item), 1 + item.size // 4)
    except RequestError as error:
        return error


def _from_function(name: str, settings: CallableSettings) -> Served:
    function = find_function(settings.function)
    card = _card_of_text(name, _sha256(source_of(function) + settings.function.encode()), settings.function)
    return FunctionModel(card, function, settings)


def _card_of_text(name: str, digest: str, display_name: str) -> Card:
    return Card(name=name, version=digest[:12], weights_sha256=digest, dtype="float64", display_name=display_name)


def _sha256(definition: bytes) -> str:
    return hashlib.sha256(definition).hexdigest()


@dataclass(frozen=True)
class _Loaded:
    """A model folder in memory, checked."""

    card: Card
    record: "RewardFolder"
    tokenizers: "TokenizerPool"
    backend: "ModelBackend"


def _from_folder(loaded: _Loaded, settings: ServerSettings, metrics: Metrics) -> Served:
    async def prepare(items: Sequence[Item]) -> list[Ready[tuple[int, ...]] | RequestError]:
        return [one if isinstance(one, RequestError) else _as_ids(one) for one in await loaded.tokenizers.render(items)]

    return QueuedModel(
        loaded.card,
        prepare,
        loaded.backend.forward,
        limits=settings.limits,
        metrics=metrics,
        calibration=loaded.record.calibration,
        one_by_one=settings.deterministic,
        on_close=loaded.tokenizers.close,
    )


def _as_ids(rendered: Rendered) -> Ready[tuple[int, ...]]:
    tokens = len(rendered.input_ids)
    return Ready(tuple(rendered.input_ids), tokens, tokens, rendered.truncated_tokens)


def _load(model: ModelSettings, folder: Path, settings: ServerSettings) -> _Loaded:
    """Loads, warms up and verifies the self-test."""
    from plaudit.reward.backends.model import ModelBackend
    from plaudit.reward.folder import verify
    from plaudit.reward.loading import load_tokenizer
    from plaudit.reward.tokenizing import TokenizerPool

    quiet_libraries()
    tokenizer = load_tokenizer(folder)
    record = _record(folder, model, tokenizer)
    backend = ModelBackend(folder, dtype=model.dtype, device=model.device, max_tokens=record.rendering.max_tokens)
    verify(folder, record, tokenizer, lambda ids: backend.forward([tuple(ids)])[0], backend.self_test_tolerance)
    tokenizers = TokenizerPool(tokenizer, record.rendering, backend.vocabulary, settings.tokenizer_threads, model.name)
    return _Loaded(_card_of_folder(model, record, tokenizers.sha256), record, tokenizers, backend)


def _record(folder: Path, model: ModelSettings, tokenizer: "PreTrainedTokenizerBase") -> "RewardFolder":
    """What the folder says about itself, or what the settings say where it says nothing."""
    from plaudit.reward.folder import NAME, read, unwritten

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


def _card_of_folder(model: ModelSettings, record: "RewardFolder", tokenizer_sha256: str) -> Card:
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
    )
