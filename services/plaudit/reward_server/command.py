"""`plaudit models HOST:PORT ACTION [key=value ...]`: the models of a reward server that is running.

    action    its own keys                         does
    list                                           shows every version, and which one its name stands for
    load      name, folder, update_alias,          loads a folder below the server's `model_roots` beside the others
              dtype, device
    alias     name                                 `models/{model}` stands for this version from now on
    unload    name                                 a version, when its last call is answered; or a name and all of them

All but `list` take an API key with the scope `admin`: `api_key_file=FILE`. Of `HOST:PORT,HOST:PORT` each is asked in
turn; where some refuse, the others have done it.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.addresses import split_address
from plaudit.errors import ConfigurationError, PlauditError
from plaudit.reward_server.asking import RewardTlsSettings, explained, shown_to
from plaudit.settings import STRICT, of_arguments
from plaudit.visible import visible
from plaudit_client import RewardError
from plaudit_client.admin import ModelAdmin

AWAY = ": is this the `address` of a `plaudit serve` that is ready? With certificates, give tls.ca=FILE"
"""Where nobody answers who could say why."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ListSettings:
    """How the server is reached."""

    api_key_file: Path | None = None  # holds the key, and nothing else
    tls: RewardTlsSettings | None = None  # null: in the clear
    timeout_s: Annotated[float, Field(gt=0)] = 600.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoadSettings(ListSettings):
    """See ModelAdmin.load."""

    name: str
    folder: str
    update_alias: bool = False
    dtype: Literal["", "float32", "bfloat16"] = ""
    device: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NameSettings(ListSettings):
    """`models/{model}/versions/{version}`, or of `unload` also `models/{model}`."""

    name: str


def run(target: str, arguments: list[str]) -> int:
    """Returns the exit code."""
    action, *rest = arguments if arguments and "=" not in arguments[0] else ["list", *arguments]
    if action not in ACTIONS:
        raise ConfigurationError(f"no action '{action}': {', '.join(ACTIONS)}")
    kind, act = ACTIONS[action]
    settings: ListSettings = of_arguments(kind, rest, f"plaudit models {target} {action}")
    refusals: list[PlauditError] = []
    for address in _addresses(target):
        opened = partial(ModelAdmin, address, timeout=settings.timeout_s)
        try:
            with shown_to(address, opened, settings.api_key_file, settings.tls) as admin:
                act(admin, settings)
        except RewardError as error:
            refusals.append(explained(error, away="" if error.reason else AWAY))
    for refusal in refusals[1:]:
        print(refusal, file=sys.stderr)
    if refusals:
        raise refusals[0]
    return 0


def _list(admin: ModelAdmin, _: ListSettings) -> None:
    """A line each, which other programs can read too."""
    models = admin.models()
    widest = max(len(model.name) for model in models)
    print(f"{admin.address}:")
    for model in models:
        named = "aliased" if model.aliased else ""
        loaded = model.load_time.strftime("%Y-%m-%d %H:%M:%S") if model.load_time else ""
        print(visible(f"{model.name:{widest}}  {named:7}  {model.provenance.dtype:8}  {loaded}").rstrip())


def _load(admin: ModelAdmin, asked: LoadSettings) -> None:
    try:
        model = admin.load(
            asked.name, asked.folder, update_alias=asked.update_alias, dtype=asked.dtype, device=asked.device
        )
    except KeyboardInterrupt:
        print(f"{admin.address} goes on loading: unload it when it is there", file=sys.stderr)
        raise
    stands = f"models/{model.name.split('/')[1]} stands for it" if model.aliased else "its name stands for another one"
    print(f"{admin.address}: {model.name} is served; {stands}")


def _alias(admin: ModelAdmin, asked: NameSettings) -> None:
    model = admin.update_alias(asked.name)
    print(f"{admin.address}: models/{model.name.split('/')[1]} stands for {model.name}")


def _unload(admin: ModelAdmin, asked: NameSettings) -> None:
    admin.unload(asked.name)
    print(f"{admin.address}: {asked.name} is unloaded")


ACTIONS: dict[str, tuple[type, Callable[..., None]]] = {
    "list": (ListSettings, _list),
    "load": (LoadSettings, _load),
    "alias": (NameSettings, _alias),
    "unload": (NameSettings, _unload),
}


def _addresses(target: str) -> list[str]:
    addresses = target.split(",")
    try:
        for address in addresses:
            split_address(address)
    except ValueError:
        raise ConfigurationError(f"'{target}' is not host:port, or several of them: host:port,host:port") from None
    return addresses
