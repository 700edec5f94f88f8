import math
from datetime import UTC, datetime

import pytest
from google.rpc import status_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from plaudit_client import (
    Drift,
    EnsembleScore,
    MemberScore,
    ModelInfo,
    ModelLimits,
    Provenance,
    Score,
    ScoreFailure,
    ServerFault,
    TokenScore,
    TokenScores,
    serde,
)
from plaudit_protos.reward.v1 import reward_pb2 as pb

from .test_chunking import items

MODEL = Provenance("models/m/versions/2", "2", "aa", "bb", "z-score-1", "float32")
SPREAD = EnsembleScore(1.0, 2.0, 3.0, (MemberScore("models/a/versions/1", 4.0, 5.0),))
numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(codec="utf-8"), max_size=8)
counts = st.integers(0, 9)
members = st.lists(st.builds(MemberScore, names, numbers, numbers), max_size=2).map(tuple)
scores = st.builds(
    Score,
    numbers,
    numbers,
    counts,
    st.booleans(),
    counts,
    item_id=names,
    model=st.just(MODEL),
    cached=st.booleans(),
    ensemble=st.none() | st.builds(EnsembleScore, numbers, numbers, numbers, members),
)
places = st.none() | counts
tokens = st.lists(st.builds(TokenScore, counts, numbers, places, places), max_size=3).map(tuple)
token_scores = st.builds(TokenScores, tokens, counts, counts, item_id=names, model=st.just(MODEL), cached=st.booleans())
failures = st.builds(
    ScoreFailure, names, st.sampled_from(["INPUT_TOO_LONG", "NONFINITE_SCORE"]), names, st.just("INTERNAL")
)


def reply(*results: pb.ItemResult) -> pb.ScoreResponse:
    return pb.ScoreResponse(results=results, model=serde.provenance_to_pb(MODEL))


@given(items)
def test_items_survive_the_wire(item):
    wire = pb.ScoreItem.FromString(serde.item_to_pb(item).SerializeToString())
    assert serde.item_from_pb(wire) == item


@given(st.lists(scores | failures, max_size=5))
@example([Score(1.0, 2.0, 3, True, 4, item_id="a", model=MODEL, cached=True, ensemble=SPREAD)])
def test_results_survive_the_wire(results):
    wire = reply(*map(serde.result_to_pb, results))
    assert serde.results_from_pb(pb.ScoreResponse.FromString(wire.SerializeToString()), len(results)) == results


@given(st.lists(token_scores | failures, max_size=5))
def test_scores_of_tokens_survive_the_wire(results):
    sent = pb.ScoreTokensResponse(results=map(serde.token_result_to_pb, results), model=serde.provenance_to_pb(MODEL))
    received = pb.ScoreTokensResponse.FromString(sent.SerializeToString())
    assert serde.token_results_from_pb(received, len(results)) == results


def test_model_survives_the_wire():
    loaded, drift = datetime(2026, 1, 2, tzinfo=UTC), Drift(7, 0.5, 0.25, 0.125)
    limits, members = ModelLimits(3, 4, 5, 6), ("models/a/versions/1", "models/b/versions/1")
    model = ModelInfo("models/m", "M", MODEL, limits, "left_prompt", "cc", True, loaded, True, members, drift, True)
    wire = serde.model_to_pb(model)
    assert {field for field, _ in wire.ListFields()} == set(wire.DESCRIPTOR.fields)  # none left out here
    assert serde.model_from_pb(pb.ModelInfo.FromString(wire.SerializeToString())) == model


def test_limits_that_a_server_does_not_state_do_not_bind():
    limits = serde.model_from_pb(pb.ModelInfo()).limits
    assert limits.max_items == limits.max_item_bytes == 2**31 - 1
    assert limits.max_request_bytes == 4 * 2**20  # gRPC's own


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_finite_number_is_never_a_score(value):
    (result,) = serde.results_from_pb(reply(pb.ItemResult(item_id="a", score=pb.Score(score=value))), 1)
    assert isinstance(result, ScoreFailure)
    assert (result.item_id, result.reason) == ("a", "NONFINITE_SCORE")


@pytest.mark.parametrize("lacking", ["mean", "stddev", "minimum", "members.score", "members.raw_score"])
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_an_ensemble_that_lacks_a_number_is_never_read_as_if_it_were_zero(lacking, value):
    """Whoever subtracts its spread from its mean would train on that."""
    whole = serde.result_to_pb(Score(1.0, 1.0, 3, False, 0, item_id="a", model=MODEL, ensemble=SPREAD))
    assert isinstance(serde.results_from_pb(reply(whole), 1)[0], Score)
    *inside, name = lacking.split(".")
    part = whole.score.ensemble.members[0] if inside else whole.score.ensemble
    part.ClearField(name)
    if value is not None:
        setattr(part, name, value)
    (result,) = serde.results_from_pb(reply(whole), 1)
    assert (result.item_id, result.reason) == ("a", "NONFINITE_SCORE")


@pytest.mark.parametrize("raw", [math.nan, math.inf])
def test_what_was_no_finite_number_before_calibration_is_no_score(raw):
    (result,) = serde.results_from_pb(reply(pb.ItemResult(item_id="a", score=pb.Score(score=1.0, raw_score=raw))), 1)
    assert isinstance(result, ScoreFailure)


def test_a_result_that_is_neither_score_nor_error_is_a_failure():
    (result,) = serde.results_from_pb(reply(pb.ItemResult(item_id="a")), 1)
    assert isinstance(result, ScoreFailure)


def test_zero_is_a_score():
    (result,) = serde.results_from_pb(reply(pb.ItemResult(score=pb.Score(score=0.0))), 1)
    assert isinstance(result, Score)
    assert result.value == result.raw == 0.0


@pytest.mark.parametrize(("code", "name"), [(3, "INVALID_ARGUMENT"), (9999, "UNKNOWN")])
def test_a_failure_without_a_reason_is_named_by_its_code(code, name):
    wire = pb.ItemResult(item_id="a", error=status_pb2.Status(code=code, message="no"))
    assert serde.results_from_pb(reply(wire), 1) == [ScoreFailure("a", name, "no", name)]


def test_results_that_are_not_as_many_as_the_items_are_refused():
    with pytest.raises(ServerFault, match="1 results to 2 items"):
        serde.results_from_pb(reply(pb.ItemResult()), 2)
