"""Who a client is: its key's name, else its certificate's subject, else the address it comes from.

What a caller can choose for itself, such as an address or a subject, names it in logs and takes turns for it, but is no
label of a metric: those are the names of configured keys alone.
"""

from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass

from plaudit.reward.gate.quota import TokenBucket
from plaudit.reward.gate.settings import KeySettings, QuotaSettings
from plaudit.telemetry import logs

MOST_KNOWN = 4096
"""Clients whose quota is remembered: those that came last. One that was forgotten has a full bucket again."""


@dataclass(frozen=True, eq=False)
class Caller:
    """One client, over all its calls."""

    id: str  # of all that share a turn and a quota: no subject can pass for a key's name
    name: str  # in logs
    label: str  # in metrics
    bucket: TokenBucket | None = None

    def take(self, tokens: float) -> None:
        """Out of its quota; raises QuotaExceeded."""
        if self.bucket is not None:
            self.bucket.take(tokens)

    def correct(self, tokens: float) -> None:
        """See TokenBucket.correct."""
        if self.bucket is not None:
            self.bucket.correct(tokens)


KEYLESS = "keyless"
ANONYMOUS = Caller("anonymous", "anonymous", KEYLESS)
caller: ContextVar[Caller] = ContextVar("caller", default=ANONYMOUS)
"""Whose call is being answered."""


class Callers:
    """The clients of one server; `quota` is of each that has none of its own."""

    def __init__(self, quota: QuotaSettings | None = None) -> None:
        self._quota = quota
        self._known: OrderedDict[str, Caller] = OrderedDict()

    def arrived(self, key: KeySettings | None, subject: str, address: str) -> Caller:
        """Whose call the running task answers from now on."""
        if key is not None:
            found = self._find(f"key {key.name}", key.name, key.name, key.quota or self._quota)
        elif subject:
            found = self._find(f"subject {subject}", subject, KEYLESS, self._quota)
        else:
            found = self._find(f"address {address}" if address else "anonymous", address, KEYLESS, self._quota)
        caller.set(found)
        logs.client.set(found.name)
        return found

    def _find(self, identity: str, name: str, label: str, quota: QuotaSettings | None) -> Caller:
        found = self._known.get(identity)
        if found is None or (found.bucket.quota if found.bucket else None) != quota:  # new, or its quota is
            bucket = None if quota is None else TokenBucket(name, quota)
            found = Caller(identity, name or "anonymous", label, bucket)
            self._known[identity] = found
        self._known.move_to_end(identity)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return found


def host_of(peer: str) -> str:
    """Of a gRPC peer, "ipv4:127.0.0.1:4567": all connections of a machine are one client. Empty where there is none."""
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0] if kind in ("ipv4", "ipv6") else ""
