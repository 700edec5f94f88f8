"""Protobuf <-> domain; the only file of the server that knows both."""

from collections.abc import Sequence
from typing import Literal

from google.protobuf.duration_pb2 import Duration

from plaudit.reward.errors import InvalidItem
from plaudit.reward.items import Answer, Card, Conversation, Item, Outcome, Scored, Text, Tokens
from plaudit.reward.settings import LimitSettings
from plaudit.reward.status import to_status
from plaudit_protos.reward.v1 import reward_pb2 as pb

FINISH: dict[pb.FinishReason.ValueType, Literal["stop", "length"] | None] = {
    pb.FINISH_REASON_UNSPECIFIED: None,
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
}
TRUNCATION = {"error": pb.TRUNCATION_POLICY_ERROR, "left_prompt": pb.TRUNCATION_POLICY_LEFT_PROMPT}


def item_from_pb(wire: pb.ScoreItem, max_bytes: int) -> Item:
    """Raises InvalidItem."""
    if wire.finish_reason not in FINISH:
        raise InvalidItem("finish_reason", f"unknown value {wire.finish_reason}")
    read = _input_from_pb(wire)
    size = _size(read)
    if size > max_bytes:
        raise InvalidItem("input", f"{size} bytes; ModelLimits.max_item_bytes is {max_bytes}")
    return Item(read, FINISH[wire.finish_reason], size)


def _input_from_pb(wire: pb.ScoreItem) -> Text | Conversation | Tokens:
    match wire.WhichOneof("input"):
        case "text":
            return Text(wire.text.prompt, wire.text.response)
        case "conversation":
            return Conversation(wire.conversation.messages)
        case "tokens":
            return Tokens(wire.tokens.prompt_ids, wire.tokens.response_ids, wire.tokens.tokenizer_sha256)
        case _:
            raise InvalidItem("input", "one of text, conversation, tokens must be set")


def _size(read: Text | Conversation | Tokens) -> int:
    """UTF-8 bytes, or 4 a token."""
    match read:
        case Text(prompt, response):
            return len(prompt.encode()) + len(response.encode())
        case Conversation(messages):
            return sum(len(message.content.encode()) for message in messages)
        case Tokens(prompt_ids, response_ids, _):
            return 4 * (len(prompt_ids) + len(response_ids))


def answer_to_pb(answer: Answer, wires: Sequence[pb.ScoreItem], card: Card) -> pb.ScoreResponse:
    """One result for each of `wires`, in order."""
    return pb.ScoreResponse(
        results=[_result(outcome, wire.item_id) for outcome, wire in zip(answer.outcomes, wires, strict=True)],
        model=provenance_to_pb(card),
        timings=pb.Timings(
            tokenize=_duration(answer.durations.tokenize),
            queue=_duration(answer.durations.queue),
            forward=_duration(answer.durations.forward),
        ),
    )


def _result(outcome: Outcome, item_id: str) -> pb.ItemResult:
    if not isinstance(outcome, Scored):
        return pb.ItemResult(item_id=item_id, error=to_status(outcome))
    score = pb.Score(
        score=outcome.score,
        raw_score=outcome.raw,
        input_tokens=outcome.input_tokens,
        truncated=outcome.truncated_tokens > 0,
        truncated_tokens=outcome.truncated_tokens,
    )
    return pb.ItemResult(item_id=item_id, score=score)


def provenance_to_pb(card: Card) -> pb.ModelProvenance:
    """Where a score came from."""
    return pb.ModelProvenance(
        name=card.resource,
        version=card.version,
        weights_sha256=card.weights_sha256,
        rendering_sha256=card.rendering_sha256,
        calibration_id=card.calibration_id,
        dtype=card.dtype,
    )


def card_to_pb(card: Card, limits: LimitSettings, deterministic: bool) -> pb.ModelInfo:
    """A model and how much it takes."""
    wire = pb.ModelInfo(
        name=card.resource,
        display_name=card.display_name,
        provenance=provenance_to_pb(card),
        limits=pb.ModelLimits(
            max_items=limits.max_items,
            max_item_bytes=limits.max_item_bytes,
            max_tokens=card.max_tokens,
            max_request_bytes=limits.max_request_bytes,
        ),
        truncation=TRUNCATION[card.truncation],
        tokenizer_sha256=card.tokenizer_sha256,
        deterministic=deterministic,
    )
    wire.load_time.FromDatetime(card.load_time)
    return wire


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
