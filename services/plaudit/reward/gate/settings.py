"""What the operator says of who may ask."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.settings import STRICT

Scope = Literal["score", "admin"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QuotaSettings:
    """How much one client may ask: `tokens_per_second` in the long run, and `burst_tokens` at once after a rest."""

    tokens_per_second: Annotated[float, Field(gt=0)]  # of what is computed for it; text counts 1 for 4 bytes
    burst_tokens: Annotated[float, Field(gt=0)]  # a call of more than that waits until all of it is there


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TlsSettings:
    """PEM files; they are read again when they change."""

    certificate: Path  # the server's, and the ones between it and its authority
    key: Path
    client_ca: Path | None = None  # mTLS: only clients with a certificate of these authorities are let in


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KeySettings:
    """One API key. Several may have one name, such as an old and a new one: they are the same client."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]  # in logs and metrics
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of the key
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = frozenset({"score"})
    quota: QuotaSettings | None = None  # null: the server's `quota`


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KeysFile:
    """The file that the server's `keys` names; `plaudit keys` writes it."""

    keys: tuple[KeySettings, ...]  # none of them: nobody is let in

    def __post_init__(self) -> None:
        quotas: dict[str, QuotaSettings | None] = {}
        for key in self.keys:
            if quotas.setdefault(key.name, key.quota) != key.quota:
                raise ValueError(f"two keys named '{key.name}' have two quotas: a client has one")
