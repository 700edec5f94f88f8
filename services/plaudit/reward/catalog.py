"""The models of one server, found by name. A name has versions, and stands for one of them.

models/helpful                           the alias: what it stands for can be moved while the server serves
models/helpful/versions/3f2a9c01b7de     that version, as long as it is there; its scores never change
""                                       the default: the first name of the settings
"""

import time
from collections.abc import Collection, Iterator, Sequence

from plaudit.reward.admission import Admission
from plaudit.reward.assemble import assemble, in_thread
from plaudit.reward.errors import Draining, ModelInUse, ModelLoading, ModelNotFound
from plaudit.reward.metrics import Metrics
from plaudit.reward.served import Served
from plaudit.reward.settings import ServerSettings
from plaudit.reward.sources import locate
from plaudit.reward.uses import Uses

PREFIX, VERSIONS = "models/", "/versions/"


class Named:
    """A name: its versions, and the one that it stands for."""

    def __init__(self, current: Served) -> None:
        self.versions = {current.card.version: current}
        self.current = current


class Catalog:
    """Empty until its models are loaded; the first one is the default."""

    def __init__(self, kept: Collection[str] = ()) -> None:
        """`kept` are names that the settings go by: their versions may change, but they stay."""
        self._names: dict[str, Named] = {}
        self._kept = kept
        self.uses = Uses()
        self.loaded = False
        self.draining = False

    async def load(self, settings: ServerSettings, metrics: Metrics) -> None:
        """Loads every model or raises ConfigurationError; all of them are found before the first one is loaded."""
        named = [(model.name, model.model) for model in settings.models if model.model is not None]
        folders = await in_thread(lambda: {name: locate(model) for name, model in named})
        for model in sorted(settings.models, key=lambda model: model.ensemble is not None):  # members first
            began = time.monotonic()
            served = await assemble(model, folders.get(model.name), settings, metrics, self.aliases())
            self.add(served)
            metrics.loaded(served.card, time.monotonic() - began)
        self._names = {model.name: self._names[model.name] for model in settings.models}
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
            return next(iter(self._names.values())).current
        model, version = split(name)
        known = self._names.get(model)
        found = known and (known.current if version is None else known.versions.get(version))
        if not found:
            versions = [f"{PREFIX}{model}{VERSIONS}{one}" for one in known.versions] if known else []
            raise ModelNotFound(name, versions or [f"{PREFIX}{other}" for other in self._names])
        return found

    def label(self, name: str) -> str:
        """Of metrics: the model's own name, never the caller's spelling of it; also of a version that has left."""
        model = split(name)[0] if name else next(iter(self._names), "")
        return model if model in self._names else "unknown"

    def all(self) -> list[Served]:
        """Every version, sorted by resource name."""
        if not self.loaded:
            raise ModelLoading
        return sorted(self._every(), key=lambda model: model.card.resource)

    def aliases(self) -> dict[str, Served]:
        """What each name stands for."""
        return {name: named.current for name, named in self._names.items()}

    def is_aliased(self, model: Served) -> bool:
        """Whether its name stands for it."""
        named = self._names.get(model.card.name)
        return named is not None and named.current is model

    def add(self, model: Served, *, update_alias: bool = False) -> None:
        """One version more. A name that is new stands for it, another one if it shall."""
        named = self._names.setdefault(model.card.name, Named(model))
        named.versions[model.card.version] = model
        if update_alias:
            named.current = model

    def update_alias(self, name: str) -> Served:
        """Has `models/{model}` stand for `models/{model}/versions/{version}`. Raises ModelNotFound."""
        model = self.find(name)
        self._names[model.card.name].current = model
        return model

    def take_out(self, name: str) -> list[Served]:
        """One version, or a name and all of its versions: nobody finds them any more, and `uses` closes them.

        Raises ModelNotFound, and ModelInUse for what others go by.
        """
        found, (model, version) = self.find(name), split(name)
        named = self._names[model]
        if version and named.current is found:
            raise ModelInUse(name, f"the name {PREFIX}{model} stands for it: update that alias first")
        if not version and named is next(iter(self._names.values())):
            raise ModelInUse(name, "it is this server's default model")
        if not version and model in self._kept:
            raise ModelInUse(name, "the settings' forms go by it")
        leaving = [found] if version else list(named.versions.values())
        self._refuse_members(leaving)
        for one in leaving:
            del named.versions[one.card.version]
            self.uses.leave(one)
        if not version:
            del self._names[model]
        return leaving

    def admissions(self) -> list[Admission]:
        """What waits, model by model."""
        return [model.admission for model in self._every()]

    def beating(self, patience: float) -> bool:
        """False when a model's thread stands still."""
        return all(model.beating(patience) for model in self._every())

    def lost(self) -> list[str]:
        """The models that can never score again."""
        return [model.card.name for model in self._every() if model.lost()]

    def away(self) -> list[str]:
        """The models that cannot score until something that they need is back."""
        return [model.card.name for model in self._every() if model.away()]

    def close(self) -> None:
        """Ends every model's threads and processes."""
        for model in (*self._every(), *self.uses.leaving):
            model.close()

    def _every(self) -> Iterator[Served]:
        for named in self._names.values():
            yield from named.versions.values()

    def _refuse_members(self, models: Sequence[Served]) -> None:
        there = (*self._every(), *self.uses.leaving)
        members = {member: ensemble for ensemble in there for member in ensemble.card.members}
        for model in models:
            if ensemble := members.get(model.card.resource):
                raise ModelInUse(model.card.resource, f"the ensemble {ensemble.card.resource} is made of it")


def split(name: str) -> tuple[str, str | None]:
    """Name and version, None where none is said."""
    model, separator, version = name.removeprefix(PREFIX).partition(VERSIONS)
    return model, version if separator else None
