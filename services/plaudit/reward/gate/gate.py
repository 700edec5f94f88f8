"""Who is let in, of one server: what its interceptor, its HTTP middleware and its loop ask."""

import asyncio
import base64
import binascii
import functools
from typing import TYPE_CHECKING, Any

from plaudit.reward.errors import PermissionDenied, Unauthenticated
from plaudit.reward.gate.callers import Callers
from plaudit.reward.gate.keys import read_keys
from plaudit.reward.gate.reloading import Reloaded
from plaudit.reward.gate.settings import KeySettings, Scope, TlsSettings
from plaudit.reward.metrics import Metrics
from plaudit.reward.settings import ServerSettings

if TYPE_CHECKING:
    from plaudit.reward.gate.certificates import Tls

EVERY_S = 1.0
"""Seconds between two looks at the files."""


class Gate:
    """Without keys everyone may score, and nobody administers."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        """Raises ConfigurationError when a file is not in order."""
        self.callers = Callers(settings.quota)
        self._metrics = metrics
        self._keys = read_keys(settings.keys) if settings.keys else None
        self.tls = _tls(settings.tls) if settings.tls else None
        """Of its listeners, but the one for /metrics and /health."""
        for name in self.tls.seconds_left() if self.tls else ():
            metrics.certificate_left.labels(name).set_function(functools.partial(self._left, name))
        self._tell()

    def check(self, scope: Scope, authorization: str | None) -> KeySettings | None:
        """The key that a caller sent, None where none is asked for. Raises Unauthenticated or PermissionDenied."""
        if self._keys is None:
            if scope != "score":
                raise PermissionDenied(scope)
            return None
        if authorization is None:
            raise Unauthenticated("no API key: send the header `authorization: Bearer KEY`")
        key = self._keys.value.find(_key_in(authorization))
        if key is None:
            raise Unauthenticated("this API key is not one of this server's")
        if scope not in key.scopes:
            raise PermissionDenied(scope)
        return key

    async def watch(self) -> None:
        """Reads the files again when they change, until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await asyncio.to_thread(self._look)
            self._tell()

    def _look(self) -> None:
        for files in self._files().values():
            files.look()

    def _tell(self) -> None:
        for name, files in self._files().items():
            self._metrics.reload_failed.labels(name).set(files.broken)

    def _files(self) -> dict[str, Reloaded[Any]]:
        found = {"keys": self._keys, "tls": self.tls.files if self.tls else None}
        return {name: files for name, files in found.items() if files is not None}

    def _left(self, name: str) -> float:
        return self.tls.seconds_left()[name] if self.tls else 0.0


def _tls(settings: TlsSettings) -> "Tls":
    from plaudit.reward.gate.certificates import Tls  # cryptography, for whoever has certificates

    return Tls(settings)


def _key_in(authorization: str) -> str:
    """What stands after Bearer, or the password of Basic: clients that take a URL alone send `user:key@` as that."""
    scheme, _, sent = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return sent.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(sent.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            pass
    return ""
