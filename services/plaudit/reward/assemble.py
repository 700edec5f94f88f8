"""From one entry of the settings to something that serves: a model folder, a rule, a function, people, or several."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.ensemble import EnsembleModel
from plaudit.reward.backends.function import FunctionModel, find_function, source_of
from plaudit.reward.backends.process import prepare
from plaudit.reward.backends.rule import Pair, rule
from plaudit.reward.errors import RequestError
from plaudit.reward.items import Card, Item, Outcome, Scored, finite, text_of
from plaudit.reward.metrics import Metrics
from plaudit.reward.queued import QueuedModel, Ready, Work
from plaudit.reward.served import Served
from plaudit.reward.settings import (
    CallableSettings,
    DigitsSettings,
    EnsembleSettings,
    HumanSettings,
    KeywordSettings,
    ModelSettings,
    ServerSettings,
)
from plaudit.reward.workers import DaemonPool

T = TypeVar("T")


async def assemble(
    model: ModelSettings, folder: Path | None, settings: ServerSettings, metrics: Metrics, others: Mapping[str, Served]
) -> Served:
    """`others` are the models loaded before it. Raises ConfigurationError; DependencyUnreachable."""
    if model.rule is not None:
        return _from_rule(model.name, model.rule, settings, metrics)
    if model.callable is not None:
        return _from_function(model.name, model.callable, metrics)
    if model.human is not None:
        return await _from_people(model.name, model.human, metrics)
    if model.ensemble is not None:
        return _from_members(model.name, model.ensemble, others)
    assert folder is not None
    return await _from_folder(model, folder, settings, metrics)


async def in_thread(work: Callable[[], T]) -> T:
    """Off the loop, on a thread that does not keep the process from ending."""
    pool = DaemonPool(1, "load")
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    finally:
        pool.shutdown()


async def _from_folder(model: ModelSettings, folder: Path, settings: ServerSettings, metrics: Metrics) -> Served:
    prepare()
    from plaudit.reward import classifier  # rules need neither torch nor transformers

    loaded = await in_thread(lambda: classifier.load(model, folder, settings))
    return classifier.serve(loaded, settings, metrics)


def _from_members(name: str, ensemble: EnsembleSettings, others: Mapping[str, Served]) -> Served:
    members = [others[member] for member in ensemble.members]
    for member in members:
        if member.card.scores_tokens:
            raise ConfigurationError(f"models.{name}: member '{member.card.name}' scores tokens: name reward models")
    return EnsembleModel(name, ensemble, members)


def _from_rule(
    name: str, definition: DigitsSettings | KeywordSettings, settings: ServerSettings, metrics: Metrics
) -> Served:
    async def prepare(items: Sequence[Item]) -> list[Ready[Pair] | RequestError]:
        return [_as_text(item) for item in items]

    digest = _sha256(json.dumps(asdict(definition), sort_keys=True).encode())
    card = _card_of_text(name, digest, f"rule: {definition.kind}")
    return QueuedModel(card, Work(prepare, rule(definition), _as_it_is), settings.limits, metrics)


def _as_text(item: Item) -> Ready[Pair] | RequestError:
    try:
        return Ready(text_of(item), 1 + item.size // 4)
    except RequestError as error:
        return error


def _as_it_is(ready: Ready[Pair], value: float, cached: bool) -> Outcome:
    return finite(Scored(value, value, cached=cached))


def _from_function(name: str, settings: CallableSettings, metrics: Metrics) -> Served:
    function = find_function(settings.function)
    card = _card_of_text(name, _sha256(source_of(function) + settings.function.encode()), settings.function)
    return FunctionModel(card, function, settings, metrics)


async def _from_people(name: str, settings: HumanSettings, metrics: Metrics) -> Served:
    from plaudit.feedback.database import open_database  # the extra `feedback`, which nothing else here needs
    from plaudit.reward.backends.human import HumanModel

    database = await in_thread(lambda: open_database(settings.database))
    return HumanModel(name, settings, database, metrics)


def _card_of_text(name: str, digest: str, display_name: str) -> Card:
    return Card(name=name, version=digest[:12], weights_sha256=digest, dtype="float64", display_name=display_name)


def _sha256(definition: bytes) -> str:
    return hashlib.sha256(definition).hexdigest()
