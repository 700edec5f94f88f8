"""Protobuf <-> domain; the only file of the server that knows both."""

import functools
from typing import Literal, NamedTuple

from google.rpc import status_pb2

from plaudit.reward.errors import InvalidItem, InvalidRequest, RequestError
from plaudit.reward.items import Answer, Card, Conversation, Item, Outcome, Scored, Text, Tokens, TokensScored
from plaudit.reward.ranking import Ranking
from plaudit.reward.rendering import Turn
from plaudit.reward.settings import LimitSettings
from plaudit.reward.status import to_status
from plaudit_protos.reward.v1 import reward_pb2 as pb

FINISH: dict[pb.FinishReason.ValueType, Literal["stop", "length"] | None] = {
    pb.FINISH_REASON_UNSPECIFIED: None,
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
}
TRUNCATION = {"error": pb.TRUNCATION_POLICY_ERROR, "left_prompt": pb.TRUNCATION_POLICY_LEFT_PROMPT}


def item_from_pb(wire: pb.ScoreItem) -> Item:
    """Raises InvalidItem."""
    match wire.WhichOneof("input"):
        case "text":
            text = wire.text  # once: each look at a field of a message makes an object
            prompt, response = text.prompt, text.response
            return Item(Text(prompt, response), _finish(wire.finish_reason), _bytes(prompt) + _bytes(response))
        case "conversation":
            messages = wire.conversation.messages
            size = sum(_bytes(message.content) for message in messages)
            return Item(Conversation(messages), _finish(wire.finish_reason), size)
        case "tokens":
            ids = wire.tokens
            size = 4 * (len(ids.prompt_ids) + len(ids.response_ids))
            read = Tokens(ids.prompt_ids, ids.response_ids, ids.tokenizer_sha256)
            return Item(read, _finish(wire.finish_reason), size)
        case _:
            raise InvalidItem("input", "one of text, conversation, tokens must be set")


class Prompt(NamedTuple):
    """What all candidates answer, and its bytes in UTF-8."""

    input: str | tuple[Turn, ...]
    size: int


def prompt_from_pb(wire: pb.RankCandidatesRequest) -> Prompt:
    """Raises InvalidRequest."""
    match wire.WhichOneof("prompt"):
        case "text":
            return Prompt(wire.text, _bytes(wire.text))
        case "conversation":
            turns = tuple(Turn(message.role, message.content) for message in wire.conversation.messages)
            return Prompt(turns, sum(_bytes(turn.content) for turn in turns))
        case _:
            raise InvalidRequest("prompt", "one of text, conversation must be set")


def candidate_from_pb(prompt: Prompt, wire: pb.Candidate) -> Item:
    """The candidate as the response to `prompt`; raises InvalidItem."""
    read: Text | Conversation
    if isinstance(prompt.input, str):
        read = Text(prompt.input, wire.response)
    else:
        read = Conversation((*prompt.input, Turn("assistant", wire.response)))
    return Item(read, _finish(wire.finish_reason), prompt.size + _bytes(wire.response))


def _finish(wire: pb.FinishReason.ValueType) -> Literal["stop", "length"] | None:
    if wire not in FINISH:
        raise InvalidItem("finish_reason", f"unknown value {wire}")
    return FINISH[wire]


def _bytes(text: str) -> int:
    """In UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def scores_to_pb(answer: Answer, request: pb.ScoreRequest, card: Card) -> pb.ScoreResponse:
    """One result for each item of the request, in order."""
    response = pb.ScoreResponse(model=provenance_to_pb(card))
    _write_timings(response.timings, answer)
    for outcome, wire in zip(answer.outcomes, request.items, strict=True):
        result = response.results.add(item_id=wire.item_id)
        if isinstance(outcome, Scored):
            _write_score(result.score, outcome, request.include_members)
        else:
            result.error.CopyFrom(_error(outcome))
    return response


def ranking_to_pb(
    answer: Answer, ranking: Ranking, request: pb.RankCandidatesRequest, card: Card
) -> pb.RankCandidatesResponse:
    """The candidates of the request in their order."""
    response = pb.RankCandidatesResponse(model=provenance_to_pb(card))
    _write_timings(response.timings, answer)
    for index in ranking.ranked:
        ranked = response.ranked.add(candidate_id=request.candidates[index].candidate_id, index=index)
        outcome = answer.outcomes[index]
        assert isinstance(outcome, Scored)
        _write_score(ranked.score, outcome, request.include_members)
    for index in ranking.unranked:
        unranked = response.unranked.add(candidate_id=request.candidates[index].candidate_id, index=index)
        unranked.error.CopyFrom(_error(answer.outcomes[index]))
    return response


def token_scores_to_pb(answer: Answer, request: pb.ScoreTokensRequest, card: Card) -> pb.ScoreTokensResponse:
    """One result for each item of the request, in order."""
    response = pb.ScoreTokensResponse(model=provenance_to_pb(card))
    _write_timings(response.timings, answer)
    for outcome, wire in zip(answer.outcomes, request.items, strict=True):
        result = response.results.add(item_id=wire.item_id)
        if isinstance(outcome, TokensScored):
            result.scores.input_tokens = outcome.input_tokens
            result.scores.truncated_tokens = outcome.truncated_tokens
            result.scores.cache_hit = outcome.cached
            for token in outcome.tokens:
                result.scores.tokens.add(**token._asdict())
        else:
            result.error.CopyFrom(_error(outcome))
    return response


def _write_score(wire: pb.Score, scored: Scored, include_members: bool) -> None:
    """Field by field into a message that is there already: half the time of making one and copying it."""
    wire.score, wire.raw_score = scored.score, scored.raw
    if scored.input_tokens:
        wire.input_tokens = scored.input_tokens
    if scored.truncated_tokens:
        wire.truncated, wire.truncated_tokens = True, scored.truncated_tokens
    if scored.cached:
        wire.cache_hit = True
    if (ensemble := scored.ensemble) is not None:
        wire.ensemble.mean, wire.ensemble.stddev = ensemble.mean, ensemble.std
        wire.ensemble.minimum = ensemble.minimum
        for name, score, raw in ensemble.members if include_members else ():
            wire.ensemble.members.add(name=name, score=score, raw_score=raw)


def _error(outcome: Outcome) -> status_pb2.Status:
    """Of an outcome that is no score."""
    assert isinstance(outcome, RequestError)
    return to_status(outcome)


def _write_timings(wire: pb.Timings, answer: Answer) -> None:
    for duration, seconds in zip((wire.tokenize, wire.queue, wire.forward), answer.durations, strict=True):
        duration.seconds, duration.nanos = divmod(round(seconds * 1e9), 10**9)


@functools.lru_cache(maxsize=256)
def provenance_to_pb(card: Card) -> pb.ModelProvenance:
    """Where a score came from; the same message for each reply of a model, to be copied and not written to."""
    return pb.ModelProvenance(
        name=card.resource,
        version=card.version,
        weights_sha256=card.weights_sha256,
        rendering_sha256=card.rendering_sha256,
        calibration_id=card.calibration_id,
        dtype=card.dtype,
    )


def card_to_pb(card: Card, limits: LimitSettings, deterministic: bool, aliased: bool) -> pb.ModelInfo:
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
        scores_tokens=card.scores_tokens,
        members=card.members,
        aliased=aliased,
    )
    if (drift := card.drift) is not None:
        wire.drift.references, wire.drift.largest = drift.references, drift.largest
        wire.drift.rms, wire.drift.reordered_ratio = drift.rms, drift.reordered
    wire.load_time.FromDatetime(card.load_time)
    return wire
