"""What a caller hands in and gets back: frozen, and free of protobuf.

item = ScoreItem(TextPair("How long is delivery?", "Two days."), item_id="42", finish_reason="stop")
Score(value=1.3, raw=1.3, input_tokens=17, truncated=False, truncated_tokens=0, item_id="42", model=Provenance(...))
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

FinishReason = Literal["stop", "length"]
Truncation = Literal["error", "left_prompt"]


@dataclass(frozen=True, slots=True)
class TextPair:
    """A prompt and the response to it, rendered by the server. Scored as they are: no normalisation."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns whose last one, by the assistant, is the response to score; rendered with the model's own template."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Ids, special tokens included, for callers that share the reward model's tokenizer."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    tokenizer_sha256: str
    """`ModelInfo.tokenizer_sha256` of the tokenizer that made them; the server refuses any other."""


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """One thing to score."""

    input: TextPair | Conversation | TokenPair
    item_id: str = ""
    """Comes back with the result."""
    finish_reason: FinishReason | None = None
    """How the response ended. After "length" (cut at the token limit) the server adds no end-of-sequence token."""

    def __post_init__(self) -> None:
        if self.finish_reason not in ("stop", "length", None):
            raise ValueError(f'finish_reason {self.finish_reason!r} is none of "stop", "length", None')


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything needed to say later where a score came from."""

    name: str
    """`models/{model}/versions/{version}`"""
    version: str
    weights_sha256: str
    """Of the weights, or of a rule's definition."""
    rendering_sha256: str
    """Of template, special tokens, truncation and length."""
    calibration_id: str
    """Empty when raw and calibrated score are the same."""
    dtype: str


@dataclass(frozen=True, slots=True)
class MemberScore:
    """What one member of an ensemble says, calibrated and before."""

    model: str
    """`models/{model}/versions/{version}`"""
    value: float
    raw: float


@dataclass(frozen=True, slots=True)
class EnsembleScore:
    """How the scores of an ensemble's members lie; their disagreement says how far the score can be trusted."""

    mean: float
    std: float
    """Of the sample, over n - 1."""
    minimum: float
    members: tuple[MemberScore, ...] = ()
    """Where they were asked for."""


@dataclass(frozen=True, slots=True)
class Score:
    """A finite reward. 0.0 is a score like any other."""

    value: float
    raw: float
    """Before calibration."""
    input_tokens: int
    """What the model read."""
    truncated: bool
    """The prompt's head was cut to fit; never the response."""
    truncated_tokens: int
    item_id: str
    model: Provenance
    cached: bool = False
    """Remembered by the server, not computed anew."""
    ensemble: EnsembleScore | None = None
    """Where the model is an ensemble."""


@dataclass(frozen=True, slots=True)
class ScoreFailure:
    """Why an item has no score."""

    item_id: str
    reason: str
    """The server's reason, as listed in the .proto: "INPUT_TOO_LONG", "NONFINITE_SCORE", ..."""
    message: str
    code: str = "UNKNOWN"
    """Name of the google.rpc.Code, e.g. "INVALID_ARGUMENT"."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """The score of one token of a response."""

    token_id: int
    value: float
    begin: int | None
    """Its place in the response, in UTF-8 bytes; None where ids were sent."""
    end: int | None


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Finite scores of the tokens of one response, in order."""

    tokens: tuple[TokenScore, ...]
    input_tokens: int
    truncated_tokens: int
    item_id: str
    model: Provenance
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several responses to a prompt; see `ScoreItem`."""

    response: str
    candidate_id: str = ""
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in its place; `score.item_id` is its `candidate_id`."""

    index: int
    """Its position among the candidates."""
    score: Score


@dataclass(frozen=True, slots=True)
class Unranked:
    """A candidate without a score."""

    index: int
    failure: ScoreFailure


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates best first, equal scores in the order given; and those that have no score, so no rank."""

    ranked: tuple[Ranked, ...]
    unranked: tuple[Unranked, ...]

    @property
    def best(self) -> Ranked | None:
        """None where no candidate has a score."""
        return self.ranked[0] if self.ranked else None


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a model in a shorter number format is from itself in float32, over a set of references."""

    references: int
    largest: float
    rms: float
    reordered_ratio: float
    """Share of pairs of references whose order is another."""


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """How much one request may hold; the client splits by these."""

    max_items: int = 1024
    max_item_bytes: int = 1 << 20
    """Of one item: UTF-8 bytes of its text, or 4 a token."""
    max_tokens: int = 4096
    """That the model reads of one item."""
    max_request_bytes: int = 4 << 20
    """Of one serialised request."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as the server serves it."""

    name: str
    display_name: str
    provenance: Provenance
    limits: ModelLimits = field(default_factory=ModelLimits)
    truncation: Truncation = "error"
    """What happens to inputs of more than `limits.max_tokens`."""
    tokenizer_sha256: str = ""
    """For `TokenPair`; empty when the model takes no token ids."""
    deterministic: bool = False
    """Every item is scored in a forward of its own, on a fixed number of threads."""
    load_time: datetime | None = None
    scores_tokens: bool = False
    """Asked by `score_tokens`; any other model by `score` and `rank`."""
    members: tuple[str, ...] = ()
    """Of an ensemble: `models/{model}/versions/{version}`."""
    drift: Drift | None = None
    """None for float32, or where it was not measured."""
    aliased: bool = False
    """Whether `models/{model}` alone stands for this version."""
