"""What a form is: a pure translation of somebody's JSON into items, and of their scores back.

    body ── read ──► Asked(items, reply) ── scored ──► reply(Told) ──► JSON
                                         └─ failed ──► error(Problem) ──► status, JSON

A form that has no place for the error of one item fails with it as a whole: null, NaN or 0 never stand for a score.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plaudit.reward.forms.problems import Problem
from plaudit.reward.forms.settings import FormSettings
from plaudit.reward.items import Card, Item, Scored, TokensScored

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """What the model says of the items asked for, all of which it could score."""

    card: Card
    scored: Sequence[Scored | TokensScored]
    settings: FormSettings
    seconds: float = 0.0  # that it took

    def values(self, activation: bool | None = None, *, theirs: bool = False) -> list[float]:
        """One score for each item: through a sigmoid where the caller asks for that, or asks for nothing and the
        settings say to do what the server would whose form this is."""
        squeezed = self._squeezed(activation, theirs)
        return [_sigmoid(one) if squeezed else one for one in map(self._score, self.scored)]

    def token_values(self, activation: bool | None = None, *, theirs: bool = False) -> list[list[float]]:
        """Of a model that scores tokens: those of each item."""
        squeezed = self._squeezed(activation, theirs)
        rows = [[token.score for token in one.tokens] for one in self.scored if isinstance(one, TokensScored)]
        return [[_sigmoid(score) if squeezed else score for score in row] for row in rows]

    @property
    def tokens(self) -> list[int]:
        """How many the model read, item by item."""
        return [one.input_tokens for one in self.scored]

    @property
    def truncated(self) -> list[int]:
        """How many were cut, item by item."""
        return [one.truncated_tokens for one in self.scored]

    def _squeezed(self, activation: bool | None, theirs: bool) -> bool:
        return activation if activation is not None else theirs and self.settings.activation == "theirs"

    def _score(self, one: Scored | TokensScored) -> float:
        assert isinstance(one, Scored)
        return one.raw if self.settings.score == "raw" else one.score


class Asked(NamedTuple):
    """What a body asks for."""

    items: Sequence[Item]
    reply: Callable[[Told], object]  # as JSON
    model: str = ""
    scores_tokens: bool | None = False  # which kind of model it needs; None: either


@dataclass(frozen=True)
class Form:
    """One request of one server."""

    name: str  # in metrics and traces
    read: Callable[[Json], Asked]  # raises RequestError
    error: Callable[[Problem], tuple[int, object]]
    keys: tuple[str, ...] = ()  # a body with one of these is of this form; looked at where forms share a path


def _sigmoid(score: float) -> float:
    """Without overflow on either side."""
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
