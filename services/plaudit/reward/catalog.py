"""The models of one server, found by name."""

import time

from plaudit.reward.admission import Admission
from plaudit.reward.assemble import assemble, in_thread
from plaudit.reward.errors import Draining, ModelLoading, ModelNotFound
from plaudit.reward.metrics import Metrics
from plaudit.reward.served import Served
from plaudit.reward.settings import ServerSettings
from plaudit.reward.sources import locate


class Catalog:
    """Empty until its models are loaded; the first one is the default."""

    def __init__(self) -> None:
        self._models: dict[str, Served] = {}
        self.loaded = False
        self.draining = False

    async def load(self, settings: ServerSettings, metrics: Metrics) -> None:
        """Loads every model or raises ConfigurationError; all of them are found before the first one is loaded."""
        named = [(model.name, model.model) for model in settings.models if model.model is not None]
        folders = await in_thread(lambda: {name: locate(model) for name, model in named})
        for model in sorted(settings.models, key=lambda model: model.ensemble is not None):  # members first
            began = time.monotonic()
            served = await assemble(model, folders.get(model.name), settings, metrics, self._models)
            self._models[model.name] = served
            metrics.loaded(served.card, time.monotonic() - began)
        self._models = {model.name: self._models[model.name] for model in settings.models}
        self.loaded = True

    def choose(self, name: str) -> Served:
        """As `find`, for new work: raises Draining when none is taken any more."""
        if self.draining:
            raise Draining
        return self.find(name)

    def find(self, name: str) -> Served:
        """By `models/{model}`, `models/{model}/versions/{version}`, the bare name, or "" for the default."""
        if not self.loaded:
            raise ModelLoading
        if not name:
            return next(iter(self._models.values()))
        model, _, version = name.removeprefix("models/").partition("/versions/")
        found = self._models.get(model)
        if found is None or version not in ("", found.card.version):
            raise ModelNotFound(name, [f"models/{known}" for known in self._models])
        return found

    def all(self) -> list[Served]:
        """Sorted by name."""
        if not self.loaded:
            raise ModelLoading
        return [self._models[name] for name in sorted(self._models)]

    def admissions(self) -> list[Admission]:
        """What waits, model by model."""
        return [model.admission for model in self._models.values()]

    def beating(self, patience: float) -> bool:
        """False when a model's thread stands still."""
        return all(model.beating(patience) for model in self._models.values())

    def lost(self) -> list[str]:
        """The models that can never score again."""
        return [name for name, model in self._models.items() if model.lost()]

    def away(self) -> list[str]:
        """The models that cannot score until something that they need is back."""
        return [name for name, model in self._models.items() if model.away()]

    def close(self) -> None:
        """Ends every model's threads and processes."""
        for model in self._models.values():
            model.close()
