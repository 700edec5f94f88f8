"""Who judged: the names that rows give, and those that settings ask for."""

from collections.abc import Collection, Iterable
from typing import Protocol

from plaudit.errors import ConfigurationError

MOST_NAMED = 10
"""That an error lists."""


class Named(Protocol):
    """A judgement that may say whose it is."""

    @property
    def annotator(self) -> str | None: ...


def known(rows: Iterable[Named]) -> list[str]:
    """Everybody's name, in order."""
    return sorted({row.annotator for row in rows if row.annotator is not None})


def check(key: str, asked: Collection[str], rows: Iterable[Named]) -> None:
    """ConfigurationError where the setting `key` names somebody who judged nothing."""
    names = known(rows)
    if unknown := set(asked) - set(names):
        raise ConfigurationError(f"{key}: '{min(unknown)}' is no row's annotator: known are {listed(names)}")


def listed(names: list[str]) -> str:
    """The first of them."""
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}" if names else "none: the rows have no 'annotator'"
