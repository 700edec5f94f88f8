"""What is scored and what comes of it: the domain's side of the wire, free of protobuf.

Item(Text("When?", " At 9."), finish_reason="stop")   ->   Scored(score=1.3, raw=1.3, input_tokens=7)
                                                      or   TokensScored, of a model that scores token by token
                                                      or   a RequestError, in the item's place

Tuples rather than dataclasses where there is one for each item: a server makes thousands of them a second.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from plaudit.reward.errors import InvalidItem, NonfiniteScore, RequestError
from plaudit.reward.rendering import MessageLike, transcript
from plaudit.reward.whole import Cut


class Text(NamedTuple):
    """Prompt and response."""

    prompt: str
    response: str


class Conversation(NamedTuple):
    """Messages, the last one the response."""

    messages: Sequence[MessageLike]


class Tokens(NamedTuple):
    """Ids that the caller rendered."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    tokenizer_sha256: str


class Whole(NamedTuple):
    """Prompt and response in one, which the caller has rendered: as a text with special tokens in it, or as ids."""

    read: str | Sequence[int]
    border: int | None = None  # where the response begins, in characters or ids, if that is known
    special_tokens: bool = False  # those around a text, such as BOS, are still to be added
    cut: Cut | None = None  # what the caller lets be cut off


class Item(NamedTuple):
    """One thing to score; `size` is its UTF-8 bytes, or 4 a token."""

    input: Text | Conversation | Tokens | Whole
    finish_reason: Literal["stop", "length"] | None = None
    size: int = 0


class MemberScore(NamedTuple):
    """What one member of an ensemble says."""

    model: str  # its resource name
    score: float
    raw: float


class EnsembleScore(NamedTuple):
    """How the members' scores lie."""

    mean: float
    std: float  # of the sample: over n - 1
    minimum: float
    members: tuple[MemberScore, ...]


class Scored(NamedTuple):
    """A finite score."""

    score: float
    raw: float  # before calibration
    input_tokens: int = 0  # 0 for a model that reads text
    truncated_tokens: int = 0
    cached: bool = False
    ensemble: EnsembleScore | None = None


class TokenScore(NamedTuple):
    """The score of one token of the response."""

    token_id: int
    score: float
    begin: int | None = None  # its place in the response's text, in UTF-8 bytes; None where ids were sent
    end: int | None = None


class TokensScored(NamedTuple):
    """Finite scores for the tokens of the response, in order; empty where the response has none."""

    tokens: tuple[TokenScore, ...]
    input_tokens: int
    truncated_tokens: int = 0
    cached: bool = False


Outcome = Scored | TokensScored | RequestError


def finite(scored: Scored) -> Scored | NonfiniteScore:
    """Missing is not zero: NaN and infinity are no scores."""
    if math.isfinite(scored.score) and math.isfinite(scored.raw):
        return scored
    return NonfiniteScore()


class Durations(NamedTuple):
    """Where a call's time went, in seconds."""

    tokenize: float = 0.0
    queue: float = 0.0
    forward: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One outcome per item, in order."""

    outcomes: list[Outcome]
    durations: Durations


@dataclass(frozen=True, slots=True)
class Deadline:
    """On `time.monotonic`'s clock; None: no end."""

    at: float | None = None

    @classmethod
    def within(cls, seconds: float | None) -> "Deadline":
        """From now."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    def left(self) -> float | None:
        """Seconds, negative when it has passed."""
        return None if self.at is None else self.at - time.monotonic()

    def passed(self) -> bool:
        """By the server's clock."""
        return self.at is not None and time.monotonic() >= self.at


class Drift(NamedTuple):
    """How far a model's scores are from those it gives in float32, over a set of references."""

    references: int
    largest: float  # |difference|
    rms: float
    reordered: float  # share of pairs of references whose order is another


@dataclass(frozen=True, kw_only=True, eq=False)
class Card:
    """What a served model says about itself."""

    name: str
    version: str
    weights_sha256: str
    rendering_sha256: str = ""
    tokenizer_sha256: str = ""  # empty: takes no token ids
    calibration_id: str = ""
    dtype: str
    display_name: str = ""
    max_tokens: int = 0  # 0: reads text, not tokens
    truncation: Literal["error", "left_prompt"] = "error"
    scores_tokens: bool = False
    drift: Drift | None = None
    members: tuple[str, ...] = ()  # of an ensemble: their resource names
    load_time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def resource(self) -> str:
        """`models/{model}/versions/{version}`."""
        return f"models/{self.name}/versions/{self.version}"


def about(items: Sequence[Item]) -> int:
    """Tokens, where nobody has counted them: 4 bytes each."""
    return sum(1 + item.size // 4 for item in items)


def text_of(item: Item) -> Text:
    """(prompt, response) for what reads text. Raises InvalidItem.

    A conversation is an hh-rlhf transcript; a whole text whose border nobody knows is all response.
    """
    match item.input:
        case Text() as text:
            return text
        case Conversation(messages):
            return Text(*transcript(messages))
        case Whole(str(text), border, _, None | Cut(None)):
            return Text(text[: border or 0], text[border or 0 :])
        case Whole(str()):
            raise InvalidItem("input", "this model reads text: it cannot be cut to a number of tokens")
        case _:
            raise InvalidItem("tokens", "this model reads text, not token ids")
