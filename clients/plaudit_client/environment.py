"""Which reward server, for trainers that call an adapter with texts and nothing else: from environment variables.

    PLAUDIT_REWARD_ADDRESS           host:port, or any gRPC target
    PLAUDIT_REWARD_MODEL             models/{model}, or models/{model}/versions/{version}; none: the server's default
    PLAUDIT_REWARD_TIMEOUT_S         how long a score is asked for, tries included: 600
    PLAUDIT_REWARD_API_KEY_FILE      holds the key and nothing else
    PLAUDIT_REWARD_TLS_CA            PEM; "system": the authorities that gRPC brings. None: in the clear
    PLAUDIT_REWARD_TLS_CERTIFICATE   this client's, and PLAUDIT_REWARD_TLS_KEY, for mTLS
    PLAUDIT_REWARD_TLS_SERVER_NAME   that the server's certificate is for, where the address has another

A name that is none of these is an error: a key must not travel in the clear for a slip of the pen.
"""

import dataclasses
import math
import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from plaudit_client.adapters import TIMEOUT
from plaudit_client.client import RewardClient
from plaudit_client.credentials import Tls
from plaudit_client.one_model import OneModel
from plaudit_client.retry import PATIENT
from plaudit_client.types import Score, ScoreFailure, ScoreItem

PREFIX = "PLAUDIT_REWARD_"
OF_KUBERNETES = re.compile(r"(service|port)(_.*)?")
"""What it sets in the pods beside a service that is called plaudit-reward."""


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """Empty: not given."""

    address: str = ""
    model: str = ""
    timeout_s: float = TIMEOUT
    api_key_file: str = ""
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_server_name: str = ""

    def arguments(self) -> dict[str, Any]:
        """Of a client. Raises OSError where a file cannot be read, ValueError where it holds no key."""
        key = Path(self.api_key_file).read_text(encoding="utf-8").strip() if self.api_key_file else None
        return {
            "address": self.address,
            "model": self.model,
            "timeout": self.timeout_s,
            "api_key": key,
            "tls": self._tls(),
        }

    def _tls(self) -> Tls | None:
        own = (self.tls_certificate or None, self.tls_key or None, self.tls_server_name or None)
        if not self.tls_ca:
            if any(own):
                raise ValueError(f'{PREFIX}TLS_CA is not set, other TLS settings are: give a file, or "system"')
            return None
        return Tls(None if self.tls_ca == "system" else self.tls_ca, *own)


def read(environment: Mapping[str, str], given: Mapping[str, Any] | None = None) -> Server:
    """What is `given` by a field's name goes before its variable. Raises ValueError."""
    values = {name.removeprefix(PREFIX).lower(): environment[name] for name in environment if name.startswith(PREFIX)}
    found: dict[str, Any] = {name: value for name, value in values.items() if not OF_KUBERNETES.fullmatch(name)}
    found |= {name: str(value) for name, value in (given or {}).items() if value is not None}
    known = [field.name for field in dataclasses.fields(Server)]
    if unknown := sorted(found.keys() - known):
        there = ", ".join(f"{PREFIX}{name.upper()}" for name in known)
        raise ValueError(f"{PREFIX}{unknown[0].upper()} is no setting; there are {there}")
    if not found.get("address"):
        raise ValueError(f"no reward server is named: set {PREFIX}ADDRESS to its host:port")
    found["timeout_s"] = _seconds(found.get("timeout_s", TIMEOUT))
    return Server(**found)


def score(server: Server, items: Sequence[ScoreItem]) -> list[Score | ScoreFailure]:
    """As RewardClient.score, patiently and of one model; all threads of this process share a client of `server`."""
    with _OPENING:
        client, model = _opened(server)
    with model.asked(client):
        results = client.score(items)
    model.check(results)
    return results


_OPENING = threading.Lock()


@cache
def _opened(server: Server) -> tuple[RewardClient, OneModel]:
    return RewardClient(**server.arguments(), retry=PATIENT), OneModel()


def _seconds(value: str | float) -> float:
    try:
        if 0 < (seconds := float(value)) < math.inf:
            return seconds
    except ValueError:
        pass
    raise ValueError(f"{PREFIX}TIMEOUT_S is {value!r}: give seconds, such as 600")
