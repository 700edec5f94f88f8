"""Candidates in order, through the client: against the fake, and, with scores of tokens, against the real server."""

import pytest

from plaudit_client import (
    AsyncRewardClient,
    Candidate,
    InvalidRequest,
    Message,
    RewardClient,
    ScoreFailure,
    ScoreItem,
    TextPair,
    TokenScores,
)
from plaudit_client.fake import FakeRewardServer
from tests.reward import tiny_models
from tests.reward.serving import DIGITS, serving


def by_length(item):
    response = item.input.response if isinstance(item.input, TextPair) else item.input.messages[-1].content
    return ScoreFailure("", "NONFINITE_SCORE", "empty") if not response else float(len(response))


def test_best_of_n_and_who_has_no_rank():
    with FakeRewardServer(by_length) as server, RewardClient(server.address) as client:
        found = client.rank("Hi", ["a", "ccc", Candidate("bbb", "mine", "length"), ""])
        best = client.rank("Hi", ["a", "ccc"], top_n=1)
        nobody = client.rank("Hi", [""])
        turns = client.rank([Message("user", "Hi")], ["a", "bb"])
        assert client.rank("Hi", []).best is None
    assert [one.index for one in found.ranked] == [1, 2, 0]
    assert [one.score.value for one in found.ranked] == [3, 3, 1]
    assert found.ranked[1].score.item_id == "mine"
    assert [(one.index, one.failure.reason) for one in found.unranked] == [(3, "NONFINITE_SCORE")]
    assert [one.index for one in best.ranked] == [1]
    assert nobody.best is None
    assert turns.best.index == 1
    assert server.requests[0][2].finish_reason == "length"
    assert server.requests[3][1].input.messages[-1] == Message("assistant", "bb")


def test_rankings_that_cannot_be_asked_for_raise():
    with FakeRewardServer(by_length) as server, RewardClient(server.address) as client:
        for prompt, candidates in (("\ud800", ["a"]), ("Hi", [1]), ([1], ["a"])):
            with pytest.raises(InvalidRequest):
                client.rank(prompt, candidates)
        for top_n in (2**40, -1):
            with pytest.raises(InvalidRequest) as caught:
                client.rank("Hi", ["a"], top_n=top_n)
            assert caught.value.reason == "INVALID_REQUEST"
        assert server.requests == []


async def test_the_real_server_ranks_and_scores_tokens(tmp_path):
    folder = tiny_models.token_classifier(tmp_path)
    steps = {"name": "steps", "model": str(folder), "rendering": {"kind": "plain", "max_tokens": 32}}
    both = {"name": "both", "ensemble": {"members": ["digits", "twice"]}}
    twice = {"name": "twice", "rule": {"kind": "digits", "scope": "full_text"}}
    async with serving(DIGITS, twice, both, steps, threads=1) as running:
        address = running.server.address
        async with AsyncRewardClient(address) as client:
            assert (await client.rank("How many?", ["none", "2", "1 2"])).best.index == 2
        async with AsyncRewardClient(address, model="models/both") as client:
            (spread,) = await client.score([ScoreItem(TextPair("1 ", "2"))], members=True)
            info = await client.get_model()
        async with AsyncRewardClient(address, model="models/steps") as client:
            items = [ScoreItem(TextPair("When?", " At 9."), "a"), ScoreItem(TextPair("When?", "no " * 40), "b")]
            whole, long = await client.score_tokens(items)
            assert (await client.get_model()).scores_tokens
            with pytest.raises(InvalidRequest, match="ScoreTokens"):
                await client.score(items)
    assert (spread.ensemble.mean, spread.ensemble.minimum) == pytest.approx((0.3, 0.2))
    assert [member.value for member in spread.ensemble.members] == pytest.approx([0.2, 0.4])
    assert tuple(member.model for member in spread.ensemble.members) == info.members
    assert isinstance(whole, TokenScores)
    assert b"".join(b" At 9."[token.begin : token.end] for token in whole.tokens) == b" At 9."
    assert (long.reason, long.item_id) == ("INPUT_TOO_LONG", "b")
