"""Candidates in the order of their scores, and best-of-n."""

from itertools import pairwise

import pytest
from google.rpc.code_pb2 import Code
from hypothesis import given
from hypothesis import strategies as st

from plaudit.reward.errors import NonfiniteScore
from plaudit.reward.items import Scored
from plaudit.reward.ranking import rank

from . import tiny_models
from .serving import DIGITS, failure, pb, serving, take_apart, text

OUTCOMES = st.lists(st.integers(-3, 3) | st.none(), max_size=12)


@given(OUTCOMES, st.integers(0, 14))
def test_every_candidate_is_ranked_or_told_apart(values, top_n):
    outcomes = [NonfiniteScore() if value is None else Scored(float(value), float(value)) for value in values]
    ranked, unranked = rank(outcomes, top_n)
    whole = rank(outcomes, 0).ranked
    assert sorted([*whole, *unranked]) == list(range(len(values)))
    assert all((-values[a], a) < (-values[b], b) for a, b in pairwise(whole))
    assert ranked == (whole[:top_n] if top_n else whole)
    assert unranked == [at for at, value in enumerate(values) if value is None]


def candidates(*responses: str) -> list[pb.Candidate]:
    return [pb.Candidate(candidate_id=f"c{at}", response=response) for at, response in enumerate(responses)]


async def test_the_best_comes_first_and_ties_keep_their_order():
    async with serving(DIGITS) as running:
        request = pb.RankCandidatesRequest(text="Count.", candidates=candidates("none", "1 2", "1", "3 4"))
        reply = await running.stub.RankCandidates(request)
        request.top_n = 1
        best = await running.stub.RankCandidates(request)
    assert [one.candidate_id for one in reply.ranked] == ["c1", "c3", "c2", "c0"]
    assert [one.index for one in reply.ranked] == [1, 3, 2, 0]
    assert [one.score.score for one in reply.ranked] == pytest.approx([0.4, 0.4, 0.2, -0.2])
    assert [one.candidate_id for one in best.ranked] == ["c1"]
    assert reply.model.name.startswith("models/digits/versions/")


async def test_a_conversation_ranks_as_its_items_score_and_a_candidate_without_a_score_is_told_apart(tmp_path):
    folder = tiny_models.decoder(tmp_path)
    model = {"name": "m", "model": str(folder), "rendering": {"kind": "chat", "max_tokens": 32}}
    turns = [pb.Message(role="user", content="When?")]
    responses = ["At 9.", "no " * 200, "At 18."]
    async with serving(model, threads=1) as running:
        request = pb.RankCandidatesRequest(
            conversation=pb.Conversation(messages=turns), candidates=candidates(*responses), top_n=2
        )
        reply = await running.stub.RankCandidates(request)
        single = await running.score(text("When?", responses[0]), text("When?", responses[2]))
    found = {one.index: one.score.score for one in reply.ranked}
    assert found == pytest.approx({0: single.results[0].score.score, 2: single.results[1].score.score}, rel=1e-5)
    (lost,) = reply.unranked
    assert (lost.candidate_id, lost.index, take_apart(lost.error).reason) == ("c1", 1, "INPUT_TOO_LONG")


async def test_a_prompt_counts_once_for_each_candidate():
    async with serving(DIGITS, limits={"max_request_bytes": 100_000}) as running:
        request = pb.RankCandidatesRequest(text="é" * 10_000, candidates=candidates(*"abcd"))
        assert len((await running.stub.RankCandidates(request)).ranked) == 4
        request.candidates.extend(candidates("e", "f"))
        found = await failure(running.stub.RankCandidates(request))
    assert (found.code, found.reason) == (Code.INVALID_ARGUMENT, "BATCH_TOO_LARGE")


@pytest.mark.parametrize(
    "request_", [pb.RankCandidatesRequest(candidates=candidates("a")), pb.RankCandidatesRequest(text="a"),
                 pb.RankCandidatesRequest(text="a", candidates=candidates("a"), top_n=-1)],
)  # fmt: skip
async def test_a_malformed_request_names_the_field(request_):
    async with serving(DIGITS) as running:
        found = await failure(running.stub.RankCandidates(request_))
    assert (found.code, found.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
