"""What is scored and what comes of it: the domain's side of the wire, free of protobuf.

Item(Text("When?", " At 9."), finish_reason="stop")   ->   Scored(score=1.3, raw=1.3, input_tokens=7)
                                                      or   a RequestError, in the item's place
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from plaudit.reward.errors import InvalidItem, NonfiniteScore, RequestError
from plaudit.reward.rendering import MessageLike, transcript


@dataclass(frozen=True, slots=True)
class Text:
    """Prompt and response."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, the last one the response."""

    messages: Sequence[MessageLike]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Ids that the caller rendered."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    tokenizer_sha256: str


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to score; `size` is its UTF-8 bytes, or 4 a token."""

    input: Text | Conversation | Tokens
    finish_reason: Literal["stop", "length"] | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """A finite score."""

    score: float
    raw: float  # before calibration
    input_tokens: int  # 0 for a model that reads text
    truncated_tokens: int = 0


Outcome = Scored | RequestError


def finite(score: float, raw: float, input_tokens: int = 0, truncated_tokens: int = 0) -> Scored | NonfiniteScore:
    """Missing is not zero: NaN and infinity are no scores."""
    if math.isfinite(score) and math.isfinite(raw):
        return Scored(score, raw, input_tokens, truncated_tokens)
    return NonfiniteScore("the model put out NaN or infinity")


@dataclass(frozen=True, slots=True)
class Durations:
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


@dataclass(frozen=True, kw_only=True)
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
    load_time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def resource(self) -> str:
        """`models/{model}/versions/{version}`."""
        return f"models/{self.name}/versions/{self.version}"


def text_of(item: Item) -> tuple[str, str]:
    """(prompt, response) for what reads text: a conversation as an hh-rlhf transcript. Raises InvalidItem."""
    match item.input:
        case Text(prompt, response):
            return prompt, response
        case Conversation(messages):
            return transcript(messages)
        case Tokens():
            raise InvalidItem("tokens", "this model reads text, not token ids")
