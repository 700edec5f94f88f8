"""Protobuf <-> domain, both ways (the fake server needs the way back); the only file that knows both."""

import math
from collections.abc import Sequence
from datetime import UTC

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
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
                wire.text.CopyFrom(pb.TextPair(prompt=_text(prompt), response=_text(response)))
            case types.Conversation(messages):
                turns = [pb.Message(role=message.role, content=_text(message.content)) for message in messages]
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


def _text(value: str) -> str:
    """Protobuf takes None for a text that is not there, and the server would score an empty one."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is no text")
    return value


def item_bytes(wire: pb.ScoreItem) -> int:
    """Its size as `ModelLimits.max_item_bytes` counts: UTF-8 bytes of the text, or 4 a token."""
    texts = [wire.text.prompt, wire.text.response, *(message.content for message in wire.conversation.messages)]
    tokens = len(wire.tokens.prompt_ids) + len(wire.tokens.response_ids)
    return sum(len(text.encode()) for text in texts) + 4 * tokens


def ranking_to_pb(
    prompt: str | Sequence[types.Message], candidates: Sequence[str | types.Candidate], top_n: int
) -> pb.RankCandidatesRequest:
    """Raises InvalidRequest for what protobuf cannot hold."""
    try:
        request = pb.RankCandidatesRequest(top_n=top_n)
        if isinstance(prompt, str):
            request.text = prompt
        else:
            turns = [pb.Message(role=message.role, content=_text(message.content)) for message in prompt]
            request.conversation.CopyFrom(pb.Conversation(messages=turns))
        for one in candidates:
            candidate = types.Candidate(one) if isinstance(one, str) else one
            finish = FINISH_TO_PB[candidate.finish_reason]
            request.candidates.add(
                candidate_id=candidate.candidate_id, response=_text(candidate.response), finish_reason=finish
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"ranking cannot be asked for: {error}", reason="INVALID_REQUEST") from None
    return request


def ranking_from_pb(reply: pb.RankCandidatesResponse) -> types.Ranking:
    """A candidate whose score is no finite number is unranked."""
    model = provenance_from_pb(reply.model)
    ranked, unranked = [], []
    for place in reply.ranked:
        result = _score_from_pb(place.score, place.candidate_id, model)
        if isinstance(result, types.Score):
            ranked.append(types.Ranked(place.index, result))
        else:
            unranked.append(types.Unranked(place.index, result))
    unranked += [types.Unranked(one.index, _failure_from_pb(one.error, one.candidate_id)) for one in reply.unranked]
    return types.Ranking(tuple(ranked), tuple(unranked))


def token_results_from_pb(reply: pb.ScoreTokensResponse, expected: int) -> list[types.TokenScores | types.ScoreFailure]:
    """As `results_from_pb`."""
    _check_count(len(reply.results), expected)
    model = provenance_from_pb(reply.model)
    return [_tokens_from_pb(result, model) for result in reply.results]


def _tokens_from_pb(wire: pb.TokensResult, model: types.Provenance) -> types.TokenScores | types.ScoreFailure:
    if wire.WhichOneof("result") != "scores":
        return _failure_from_pb(wire.error, wire.item_id)
    if not all(_is_number(token, "score") for token in wire.scores.tokens):
        return _no_number(wire.item_id)
    tokens = tuple(
        types.TokenScore(
            token.token_id,
            token.score,
            token.begin if token.HasField("begin") else None,
            token.end if token.HasField("end") else None,
        )
        for token in wire.scores.tokens
    )
    counts = (wire.scores.input_tokens, wire.scores.truncated_tokens)
    return types.TokenScores(tokens, *counts, item_id=wire.item_id, model=model, cached=wire.scores.cache_hit)


def results_from_pb(reply: pb.ScoreResponse, expected: int) -> list[types.Score | types.ScoreFailure]:
    """One per item, in order. Raises ServerFault when they are not as many as were asked for."""
    _check_count(len(reply.results), expected)
    model = provenance_from_pb(reply.model)
    return [_result_from_pb(result, model) for result in reply.results]


def _result_from_pb(wire: pb.ItemResult, model: types.Provenance) -> types.Score | types.ScoreFailure:
    if wire.WhichOneof("result") == "error":
        return _failure_from_pb(wire.error, wire.item_id)
    return _score_from_pb(wire.score, wire.item_id, model)


def _score_from_pb(wire: pb.Score, item_id: str, model: types.Provenance) -> types.Score | types.ScoreFailure:
    if not (_is_number(wire, "score") and math.isfinite(wire.raw_score) and _is_whole(wire)):
        return _no_number(item_id)
    return types.Score(
        wire.score,
        wire.raw_score if wire.HasField("raw_score") else wire.score,
        wire.input_tokens,
        wire.truncated,
        wire.truncated_tokens,
        item_id=item_id,
        model=model,
        cached=wire.cache_hit,
        ensemble=_ensemble_from_pb(wire.ensemble) if wire.HasField("ensemble") else None,
    )


def _is_whole(wire: pb.Score) -> bool:
    """An ensemble's numbers are rewards too: what one of them lacks would be read as 0."""
    of = wire.ensemble
    if wire.HasField("ensemble") and not all(_is_number(of, name) for name in ("mean", "stddev", "minimum")):
        return False
    return all(_is_number(member, "score") and _is_number(member, "raw_score") for member in of.members)


def _is_number(wire: Message, name: str) -> bool:
    return wire.HasField(name) and math.isfinite(getattr(wire, name))


def _ensemble_from_pb(wire: pb.EnsembleScore) -> types.EnsembleScore:
    members = (types.MemberScore(member.name, member.score, member.raw_score) for member in wire.members)
    return types.EnsembleScore(wire.mean, wire.stddev, wire.minimum, tuple(members))


def _failure_from_pb(wire: status_pb2.Status, item_id: str) -> types.ScoreFailure:
    reason, code = error_info(wire).reason, _code_name(wire.code)
    return types.ScoreFailure(item_id, reason or code, wire.message, code)


def _no_number(item_id: str) -> types.ScoreFailure:
    """Never turn a missing score into a number."""
    return types.ScoreFailure(item_id, "NONFINITE_SCORE", "the server sent no finite score", "INTERNAL")


def _check_count(found: int, expected: int) -> None:
    if found != expected:
        raise ServerFault(f"the reward server answered {found} results to {expected} items")


def result_to_pb(result: types.Score | types.ScoreFailure) -> pb.ItemResult:
    """A result as a server sends it."""
    if isinstance(result, types.ScoreFailure):
        return pb.ItemResult(item_id=result.item_id, error=_failure_to_pb(result))
    return pb.ItemResult(item_id=result.item_id, score=_score_to_pb(result))


def _score_to_pb(score: types.Score) -> pb.Score:
    return pb.Score(
        score=score.value,
        raw_score=score.raw,
        input_tokens=score.input_tokens,
        truncated=score.truncated,
        truncated_tokens=score.truncated_tokens,
        cache_hit=score.cached,
        ensemble=_ensemble_to_pb(score.ensemble) if score.ensemble else None,
    )


def _ensemble_to_pb(ensemble: types.EnsembleScore) -> pb.EnsembleScore:
    members = [pb.MemberScore(name=one.model, score=one.value, raw_score=one.raw) for one in ensemble.members]
    return pb.EnsembleScore(mean=ensemble.mean, stddev=ensemble.std, minimum=ensemble.minimum, members=members)


def token_result_to_pb(result: types.TokenScores | types.ScoreFailure) -> pb.TokensResult:
    """As `result_to_pb`."""
    if isinstance(result, types.ScoreFailure):
        return pb.TokensResult(item_id=result.item_id, error=_failure_to_pb(result))
    scores = pb.TokenScores(
        tokens=[
            pb.TokenScore(token_id=token.token_id, score=token.value, begin=token.begin, end=token.end)
            for token in result.tokens
        ],
        input_tokens=result.input_tokens,
        truncated_tokens=result.truncated_tokens,
        cache_hit=result.cached,
    )
    return pb.TokensResult(item_id=result.item_id, scores=scores)


def candidate_from_pb(request: pb.RankCandidatesRequest, wire: pb.Candidate) -> types.ScoreItem:
    """A candidate as the item that a server scores."""
    read: types.TextPair | types.Conversation = types.TextPair(request.text, wire.response)
    if request.WhichOneof("prompt") == "conversation":
        turns = [types.Message(message.role, message.content) for message in request.conversation.messages]
        read = types.Conversation((*turns, types.Message("assistant", wire.response)))
    return types.ScoreItem(read, wire.candidate_id, FINISH_FROM_PB.get(wire.finish_reason))


def ranking_result_to_pb(ranking: types.Ranking, model: types.Provenance) -> pb.RankCandidatesResponse:
    """A ranking as a server sends it."""
    reply = pb.RankCandidatesResponse(model=provenance_to_pb(model))
    for place in ranking.ranked:
        reply.ranked.add(candidate_id=place.score.item_id, index=place.index, score=_score_to_pb(place.score))
    for one in ranking.unranked:
        reply.unranked.add(candidate_id=one.failure.item_id, index=one.index, error=_failure_to_pb(one.failure))
    return reply


def _failure_to_pb(failure: types.ScoreFailure) -> status_pb2.Status:
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
        scores_tokens=wire.scores_tokens,
        members=tuple(wire.members),
        drift=_drift_from_pb(wire.drift) if wire.HasField("drift") else None,
        aliased=wire.aliased,
    )


def _drift_from_pb(wire: pb.Drift) -> types.Drift:
    return types.Drift(wire.references, wire.largest, wire.rms, wire.reordered_ratio)


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
        scores_tokens=model.scores_tokens,
        members=model.members,
        drift=_drift_to_pb(model.drift) if model.drift else None,
        aliased=model.aliased,
    )
    if model.load_time is not None:
        wire.load_time.FromDatetime(model.load_time)
    return wire


def _drift_to_pb(drift: types.Drift) -> pb.Drift:
    return pb.Drift(
        references=drift.references, largest=drift.largest, rms=drift.rms, reordered_ratio=drift.reordered_ratio
    )
