"""What a model put out before for the same input; off unless the settings give it room.

The key is the SHA-256 of what the model reads, so no text is kept, and an entry takes the memory of its value: a score,
or one for each token where the model scores tokens. A cache belongs to one loaded model: another version begins with an
empty one. The least recently used entry goes first.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar, cast

V = TypeVar("V")


class Cache(Generic[V]):
    """At most `size` values; lives on the event loop, so it needs no lock."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, payload: Hashable) -> V | None:
        """What was put in for an equal payload, if it is still there."""
        key = _key(payload)
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, payload: Hashable, value: V) -> None:
        """Remembers it, and forgets the oldest for it."""
        self._values[_key(payload)] = value
        if len(self._values) > self.size:
            self._values.popitem(last=False)


def _key(payload: Hashable) -> bytes:
    """Of ids (non-negative integers) or of texts, whose lengths keep ("ab", "c") and ("a", "bc") apart."""
    match payload:
        case (int(), *_):
            return hashlib.sha256(b"ids" + array("q", cast("tuple[int, ...]", payload)).tobytes()).digest()
        case (str(), *_):
            parts = [str(part).encode("utf-8", "surrogatepass") for part in payload]
            return hashlib.sha256(b"text" + b"".join(len(part).to_bytes(8) + part for part in parts)).digest()
    raise TypeError(f"a payload is a tuple of ids or of texts, not {type(payload).__name__}")
