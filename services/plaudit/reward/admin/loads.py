"""One load at a time, beside the calls that are being answered: what is served changes only when it has succeeded."""

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from plaudit.errors import PlauditError
from plaudit.reward.assemble import assemble, in_thread
from plaudit.reward.catalog import Catalog, split
from plaudit.reward.errors import Draining, FolderRefused, LoadUnderWay, RequestError
from plaudit.reward.metrics import Metrics
from plaudit.reward.served import Served
from plaudit.reward.settings import ModelSettings, ServerSettings

log = logging.getLogger(__name__)
Dtype = Literal["float32", "bfloat16"]


class Wanted(NamedTuple):
    """What is to be loaded, and as what. `dtype` and `device` as in the settings of that name where they are None."""

    name: str
    folder: Path
    update_alias: bool = False
    dtype: Dtype | None = None
    device: str | None = None


class Loads:
    """Of one server."""

    def __init__(self, catalog: Catalog, settings: ServerSettings, metrics: Metrics) -> None:
        self._catalog, self._settings, self._metrics = catalog, settings, metrics
        self._running: tuple[Wanted, asyncio.Task[Served]] | None = None
        self._closing: dict[Served, asyncio.Task[None]] = {}

    async def load(self, wanted: Wanted) -> Served:
        """The version, once it is served; asked for the same, both callers have it of one load.

        Raises FolderRefused, LoadUnderWay for another one, and Draining when the server ends before.
        """
        if self._catalog.draining:
            raise Draining
        if self._running is None:
            self._running = wanted, asyncio.create_task(self._load(wanted))
        under_way, task = self._running
        if under_way != wanted:
            raise LoadUnderWay(under_way.name)
        try:
            return await asyncio.shield(task)  # a caller who goes away does not undo it
        except asyncio.CancelledError:
            if task.cancelled():
                raise Draining from None
            raise

    async def unload(self, leaving: list[Served]) -> None:
        """Closes what the catalog took out, each when its last call is answered."""
        for model in leaving:
            self._metrics.unloaded(model.card)
            self._closing[model] = asyncio.create_task(self._close(model))
        await asyncio.gather(*(asyncio.shield(self._closing[model]) for model in leaving))

    async def until_closed(self, name: str) -> bool:
        """Waits for what is being unloaded of that name, or of that name and version; False where nothing is."""
        asked, version = split(name)
        closing = [
            asyncio.shield(task)
            for model, task in self._closing.items()
            if model.card.name == asked and version in (None, model.card.version)
        ]
        await asyncio.gather(*closing)
        return bool(closing)

    def cancel(self) -> None:
        """The server ends."""
        if self._running is not None:
            self._running[1].cancel()

    async def _close(self, model: Served) -> None:
        try:
            await self._catalog.uses.close(model)
        finally:
            del self._closing[model]
        log.info("model unloaded", extra={"model": model.card.resource})

    async def _load(self, wanted: Wanted) -> Served:
        told = {"model": wanted.name, "folder": str(wanted.folder)}
        try:
            served = await self._loaded(wanted)
        except PlauditError as error:
            log.warning("model refused", extra={**told, "why": str(error)})
            raise FolderRefused(str(error)) from None
        except RequestError as error:
            log.warning("model refused", extra={**told, "why": str(error)})
            raise
        finally:
            self._running = None
        log.info("model loaded", extra={**told, "version": served.card.version})
        return served

    async def _loaded(self, wanted: Wanted) -> Served:
        model = self._model(wanted)
        if known := await self._known(model, wanted.folder):
            self._catalog.add(known, update_alias=wanted.update_alias)
            return known
        began = time.monotonic()
        served = await assemble(model, wanted.folder, self._settings, self._metrics, {})
        try:
            self._check_kind(served)
        except FolderRefused:
            served.close()
            raise
        self._catalog.add(served, update_alias=wanted.update_alias)
        self._metrics.loaded(served.card, time.monotonic() - began)
        return served

    def _model(self, wanted: Wanted) -> ModelSettings:
        own = (one for one in self._settings.models if one.name == wanted.name and one.model is not None)
        own_settings = next(own, ModelSettings(name=wanted.name, model=str(wanted.folder)))
        return replace(
            own_settings,
            model=str(wanted.folder),
            rendering=None,  # the folder has its own
            references=own_settings.references if wanted.dtype != "float32" else None,
            dtype=wanted.dtype or own_settings.dtype,
            device=wanted.device or own_settings.device,
        )

    async def _known(self, model: ModelSettings, folder: Path) -> Served | None:
        """The folder's version, where it is served already. Raises FolderRefused where that is something else."""
        from plaudit.reward import folder as reward_folder  # with torch, which a server of rules never imports

        record = await in_thread(lambda: reward_folder.read(folder))
        assert record is not None, "Roots.find"
        resource = f"models/{model.name}/versions/{record.version}"
        known = next((one for one in self._catalog.all() if one.card.resource == resource), None)
        if known is None:
            return None
        card, calibration = known.card, record.calibration.id if record.calibration else ""
        served = card.weights_sha256, card.rendering_sha256, card.calibration_id, card.dtype
        if served != (record.weights_sha256, record.rendering_sha256, calibration, model.dtype):
            raise FolderRefused(
                f"{folder} says that it is version '{record.version}', and that one is served already with other "
                "weights, rendering, calibration or dtype: a version never changes, so give this one another"
            )
        return known

    def _check_kind(self, served: Served) -> None:
        """Who calls the name expects scores of the same kind."""
        named = self._catalog.aliases().get(served.card.name)
        if named is not None and named.card.scores_tokens != served.card.scores_tokens:
            kinds = {True: "the tokens of responses", False: "whole responses"}
            raise FolderRefused(
                f"models/{served.card.name} scores {kinds[named.card.scores_tokens]}, this folder "
                f"{kinds[served.card.scores_tokens]}: load it under another name"
            )
