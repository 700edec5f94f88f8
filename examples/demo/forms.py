"""Sentence forms: one notation from which sentences are drawn and by which they are recognised.

    "(The|Your) {product} arrives in {days} days"

Round brackets hold alternatives (they nest, one may be empty), curly ones a slot: a word list (`{city}`) or a range of
whole numbers (`{days}`). Because drawing and recognising read the same text, what the world can say and what it takes
for English cannot drift apart.
"""

import random
import re
from collections.abc import Mapping, Sequence

Slot = Sequence[str] | range

_INNERMOST = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


class Form:
    """One sentence form, without its full stop."""

    def __init__(self, text: str, slots: Mapping[str, Slot]) -> None:
        self.text = text
        self._slots = slots
        self._pattern = re.compile(_pattern(text, slots))

    def draw(self, rng: random.Random, given: Mapping[str, str] | None = None) -> str:
        """A sentence of this form; slots in `given` take that value, the others a random one."""
        sentence = self.text
        while _INNERMOST.search(sentence):
            sentence = _INNERMOST.sub(lambda match: rng.choice(match[1].split("|")), sentence)
        values = given or {}
        return _SLOT.sub(lambda match: values.get(match[1]) or str(rng.choice(self._slots[match[1]])), sentence)

    def match(self, sentence: str) -> dict[str, str] | None:
        """The slots' values when `sentence` is of this form (numbers within their range), else None."""
        found = self._pattern.fullmatch(sentence)
        if found is None:
            return None
        values = {name: value for name, value in found.groupdict().items() if value is not None}
        return values if all(self._allowed(name, value) for name, value in values.items()) else None

    def _allowed(self, name: str, value: str) -> bool:
        slot = self._slots[name]
        return int(value) in slot if isinstance(slot, range) else value in slot


def _pattern(text: str, slots: Mapping[str, Slot]) -> str:
    """The form as a regular expression with one named group per slot."""
    pieces = _SLOT.split(text)  # plain, name, plain, name, ..., plain
    names = pieces[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"slot named twice in '{text}'")
    plain = [re.escape(piece).replace(r"\(", "(?:").replace(r"\)", ")").replace(r"\|", "|") for piece in pieces[::2]]
    groups = [f"(?P<{name}>{_values(slots[name])})" for name in names]
    return "".join(a + b for a, b in zip(plain, [*groups, ""], strict=True))


def _values(slot: Slot) -> str:
    """Any value of a slot; numbers without leading zeros."""
    return r"[1-9]\d*|0" if isinstance(slot, range) else "|".join(map(re.escape, slot))
