"""Protobuf <-> domain, both ways (the fake server needs the way back); the only file that knows both."""

import math
from datetime import UTC

from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from plaudit_client import types
from plaudit_client.errors import InvalidRequest, ServerFault
from plaudit_client.status import DOMAIN, error_info
from plaudit_protos.reward.v1 import reward_pb2 as pb

FINISH_TO_PB: dict[types.FinishReason | None, pb.FinishReason.ValueType] = {
    None: pb.FINISH_REASON_UNSPECIFIED,
    "stop": pb.FINISH_REASON_STOP,
    "length": pb.FINISH_REASON_LENGTH,
}
FINISH_FROM_PB = {number: name for name, number in FINISH_TO_PB.items()}
TRUNCATION_TO_PB: dict[types.Truncation, pb.TruncationPolicy.ValueType] = {
    "error": pb.TRUNCATION_POLICY_ERROR,
    "left_prompt": pb.TRUNCATION_POLICY_LEFT_PROMPT,
}
TRUNCATION_FROM_PB = {number: name for name, number in TRUNCATION_TO_PB.items()}
UNLIMITED = 2**31 - 1


def item_to_pb(item: types.ScoreItem) -> pb.ScoreItem:
    """Raises InvalidRequest for what protobuf cannot hold: lone surrogates, token ids beyond 32 bits, wrong types."""
    try:
        wire = pb.ScoreItem(item_id=item.item_id, finish_reason=FINISH_TO_PB[item.finish_reason])
        match item.input:
            case types.TextPair(prompt, response):
                wire.text.CopyFrom(pb.TextPair(prompt=prompt, response=response))
            case types.Conversation(messages):
                turns = [pb.Message(role=message.role, content=message.content) for message in messages]
                wire.conversation.CopyFrom(pb.Conversation(messages=turns))
            case types.TokenPair(prompt_ids, response_ids, digest):
                tokens = pb.TokenPair(prompt_ids=prompt_ids, response_ids=response_ids, tokenizer_sha256=digest)
                wire.tokens.CopyFrom(tokens)
            case other:
                raise TypeError(f"input must be TextPair, Conversation or TokenPair, not {type(other).__name__}")
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"item cannot be sent: {error}", reason="INVALID_ITEM") from None
    return wire


def item_from_pb(wire: pb.ScoreItem) -> types.ScoreItem:
    """Raises InvalidRequest when no input is set."""
    return types.ScoreItem(_input_from_pb(wire), wire.item_id, FINISH_FROM_PB.get(wire.finish_reason))


def _input_from_pb(wire: pb.ScoreItem) -> types.TextPair | types.Conversation | types.TokenPair:
    match wire.WhichOneof("input"):
        case "text":
            return types.TextPair(wire.text.prompt, wire.text.response)
        case "conversation":
            turns = (types.Message(message.role, message.content) for message in wire.conversation.messages)
            return types.Conversation(tuple(turns))
        case "tokens":
            tokens = wire.tokens
            return types.TokenPair(tuple(tokens.prompt_ids), tuple(tokens.response_ids), tokens.tokenizer_sha256)
        case _:
            raise InvalidRequest("item has no input", reason="INVALID_ITEM")


def item_bytes(wire: pb.ScoreItem) -> int:
    """Its size as `ModelLimits.max_item_bytes` counts: UTF-8 bytes of the text, or 4 a token."""
    texts = [wire.text.prompt, wire.text.response, *(message.content for message in wire.conversation.messages)]
    tokens = len(wire.tokens.prompt_ids) + len(wire.tokens.response_ids)
    return sum(len(text.encode()) for text in texts) + 4 * tokens


def results_from_pb(reply: pb.ScoreResponse, expected: int) -> list[types.Score | types.ScoreFailure]:
    """One per item, in order. Raises ServerFault when they are not as many as were asked for."""
    if len(reply.results) != expected:
        raise ServerFault(f"the reward server answered {len(reply.results)} results to {expected} items")
    model = provenance_from_pb(reply.model)
    return [_result_from_pb(result, model) for result in reply.results]


def _result_from_pb(wire: pb.ItemResult, model: types.Provenance) -> types.Score | types.ScoreFailure:
    if wire.WhichOneof("result") == "error":
        reason, code = error_info(wire.error).reason, _code_name(wire.error.code)
        return types.ScoreFailure(wire.item_id, reason or code, wire.error.message, code)
    score = wire.score
    if not (score.HasField("score") and math.isfinite(score.score)):  # never turn a missing score into a number
        return types.ScoreFailure(wire.item_id, "NONFINITE_SCORE", "the server sent no finite score", "INTERNAL")
    raw = score.raw_score if score.HasField("raw_score") else score.score
    counts = (score.input_tokens, score.truncated, score.truncated_tokens)
    return types.Score(score.score, raw, *counts, item_id=wire.item_id, model=model)


def result_to_pb(result: types.Score | types.ScoreFailure, item_id: str) -> pb.ItemResult:
    """A result as a server sends it."""
    if isinstance(result, types.ScoreFailure):
        return pb.ItemResult(item_id=item_id, error=failure_to_pb(result))
    score = pb.Score(
        score=result.value,
        raw_score=result.raw,
        input_tokens=result.input_tokens,
        truncated=result.truncated,
        truncated_tokens=result.truncated_tokens,
    )
    return pb.ItemResult(item_id=item_id, score=score)


def failure_to_pb(failure: types.ScoreFailure) -> status_pb2.Status:
    """A status with the one ErrorInfo that every error carries."""
    detail = Any()
    detail.Pack(ErrorInfo(reason=failure.reason, domain=DOMAIN))
    return status_pb2.Status(code=code_pb2.Code.Value(failure.code), message=failure.message, details=[detail])


def _code_name(code: int) -> str:
    return code_pb2.Code.Name(code) if code in code_pb2.Code.values() else "UNKNOWN"


def provenance_from_pb(wire: pb.ModelProvenance) -> types.Provenance:
    """Field by field."""
    digests = (wire.weights_sha256, wire.rendering_sha256, wire.calibration_id)
    return types.Provenance(wire.name, wire.version, *digests, dtype=wire.dtype)


def provenance_to_pb(provenance: types.Provenance) -> pb.ModelProvenance:
    """Field by field."""
    return pb.ModelProvenance(
        name=provenance.name,
        version=provenance.version,
        weights_sha256=provenance.weights_sha256,
        rendering_sha256=provenance.rendering_sha256,
        calibration_id=provenance.calibration_id,
        dtype=provenance.dtype,
    )


def model_from_pb(wire: pb.ModelInfo) -> types.ModelInfo:
    """A limit that the server does not state does not bind, but for gRPC's own 4 MiB a message."""
    limits = types.ModelLimits(
        max_items=wire.limits.max_items or UNLIMITED,
        max_item_bytes=wire.limits.max_item_bytes or UNLIMITED,
        max_tokens=wire.limits.max_tokens or UNLIMITED,
        max_request_bytes=wire.limits.max_request_bytes or types.ModelLimits().max_request_bytes,
    )
    return types.ModelInfo(
        name=wire.name,
        display_name=wire.display_name,
        provenance=provenance_from_pb(wire.provenance),
        limits=limits,
        truncation=TRUNCATION_FROM_PB.get(wire.truncation, "error"),
        tokenizer_sha256=wire.tokenizer_sha256,
        deterministic=wire.deterministic,
        load_time=wire.load_time.ToDatetime(UTC) if wire.HasField("load_time") else None,
    )


def model_to_pb(model: types.ModelInfo) -> pb.ModelInfo:
    """A model as a server describes it."""
    wire = pb.ModelInfo(
        name=model.name,
        display_name=model.display_name,
        provenance=provenance_to_pb(model.provenance),
        limits=pb.ModelLimits(
            max_items=model.limits.max_items,
            max_item_bytes=model.limits.max_item_bytes,
            max_tokens=model.limits.max_tokens,
            max_request_bytes=model.limits.max_request_bytes,
        ),
        truncation=TRUNCATION_TO_PB[model.truncation],
        tokenizer_sha256=model.tokenizer_sha256,
        deterministic=model.deterministic,
    )
    if model.load_time is not None:
        wire.load_time.FromDatetime(model.load_time)
    return wire
