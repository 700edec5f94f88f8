"""Which processes are watched: addresses, and those that a run folder names; each is looked at again and again."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from plaudit.addresses import join_address, split_address
from plaudit.errors import ConfigurationError
from plaudit.top.ask import Answer, Unreachable, ask
from plaudit.top.page import printable
from plaudit.top.seen import RunSeen, ServerSeen

USUAL_PORT = 9090
"""Of `plaudit serve`'s http_address, where its settings name no other."""
MODEL_INFO = "plaudit_reward_model_info"


@dataclass
class Endpoint:
    """One process's `/metrics`, and what has been seen there."""

    address: str
    folder: Path | None = None  # of the run that is looked for there
    answer: Answer | None = None  # the newest; kept while it is away
    problem: str = ""  # why there is none now
    lost_at: float | None = None  # Unix seconds
    run: RunSeen = field(default_factory=RunSeen)
    server: ServerSeen = field(default_factory=ServerSeen)

    @property
    def kind(self) -> Literal["run", "reward server", ""]:
        """By the metrics it has."""
        if self.answer and "plaudit_trainer_step" in self.answer.page:
            return "run"
        return "reward server" if self.answer and "plaudit_reward_queue_items" in self.answer.page else ""

    @property
    def models(self) -> dict[str, str]:
        """A reward server's models: name by resource name."""
        found = self.answer.page.samples.get(MODEL_INFO, {}) if self.answer else {}
        labels = [dict(one) for one in found]
        return {f"models/{one.get('model')}/versions/{one.get('version')}": one.get("model", "") for one in labels}

    async def look(self) -> None:
        """Asks it once."""
        try:
            answer = await ask(self.address)
            self._check(answer)
        except Unreachable as error:
            self.problem = str(error)
            self.lost_at = self.lost_at or time.time()
            return
        self.answer, self.problem, self.lost_at = answer, "", None
        if self.kind == "run":
            self.run.look(answer.page)
        elif self.kind == "reward server":
            self.server.look(time.monotonic(), answer.page)

    def _check(self, answer: Answer) -> None:
        """Another process may have the port by now."""
        folder = answer.health.get("folder")
        if self.folder and folder != printable(str(self.folder.resolve())):
            raise Unreachable(f"its port belongs to {folder or 'another program'} now")


@dataclass
class RunFolder:
    """What a run writes down of where it is, and of which reward servers it asks."""

    path: Path
    endpoint: Endpoint
    asked: dict[str, str] = field(default_factory=dict)  # resource name of a model: gRPC address of its server
    _described: dict[str, Any] = field(default_factory=dict)

    def read(self) -> None:
        """As it is now: a run that goes on after an end has another port. Raises ConfigurationError."""
        described = _read_json(self.path / "run.json")
        try:
            split_address(str(described["http_address"]))
        except (KeyError, ValueError):
            raise ConfigurationError(f"{self.path}/run.json names no http_address: is it a run's folder?") from None
        self.endpoint.address = str(described["http_address"])
        changed, self._described = described != self._described, described
        models = described.get("reward_models", {})  # known once the servers have answered
        if models and changed:
            addresses = _addresses(self.path / "config.yaml")
            self.asked = {printable(str(model)): addresses.get(name, "") for name, model in models.items()}


class Board:
    """All that is watched."""

    def __init__(self, targets: Sequence[str]) -> None:
        """`targets` are run folders and addresses. Raises ConfigurationError."""
        self.folders: list[RunFolder] = []
        self._named: list[Endpoint] = []
        self._guessed: dict[str, Endpoint] = {}
        for target in dict.fromkeys(targets):
            endpoint = _endpoint(target)
            self._named.append(endpoint)
            if endpoint.folder:
                self.folders.append(RunFolder(endpoint.folder, endpoint))
                self.folders[-1].read()

    @property
    def endpoints(self) -> list[Endpoint]:
        """To be shown, runs first. An address that was guessed is once it has shown a model that a run asks."""
        asked = {model for folder in self.folders for model in folder.asked}
        found = [one for one in self._guessed.values() if one.models.keys() & asked]
        return sorted((*self._named, *found), key=lambda one: one.kind != "run" and one.folder is None)

    @property
    def unseen(self) -> dict[str, str]:
        """Models that runs ask and no reward server on the board has: gRPC address by resource name."""
        seen = {model for endpoint in self.endpoints for model in endpoint.models}
        return {model: of for folder in self.folders for model, of in folder.asked.items() if model not in seen}

    async def look(self) -> None:
        """At all of them at once."""
        for folder in self.folders:
            with contextlib.suppress(ConfigurationError):  # the last known address will do
                folder.read()
            self._guess(folder)
        await asyncio.gather(*(one.look() for one in (*self._named, *self._guessed.values())))

    def _guess(self, folder: RunFolder) -> None:
        """No server says over gRPC where its metrics are."""
        for address in set(folder.asked.values()) - {""}:
            guess = join_address(split_address(address)[0], USUAL_PORT)
            if guess not in {one.address for one in self._named}:
                self._guessed.setdefault(guess, Endpoint(guess))


def _endpoint(target: str) -> Endpoint:
    if (Path(target) / "run.json").is_file():
        return Endpoint("", folder=Path(target))
    address = target.removeprefix("http://").removesuffix("/metrics")
    try:
        split_address(address)
    except ValueError:
        raise ConfigurationError(f"'{target}' is neither a run folder (with a run.json) nor host:port") from None
    return Endpoint(address)


def _addresses(path: Path) -> dict[str, str]:
    """gRPC addresses of a run's reward services, by name; those of the form host:port."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        services = {"reward": settings["reward"], **settings["more_rewards"]}
        return {name: str(one["address"]) for name, one in services.items() if _is_address(one["address"])}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}


def _is_address(address: Any) -> bool:
    try:
        split_address(str(address))
    except ValueError:
        return False
    return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
