"""The fake refuses, records and fails alike, whichever of the three methods is asked."""

import dataclasses

import grpc
import pytest

from plaudit_client import InvalidRequest, ModelLimits, RequestTooLarge, RewardClient, ScoreItem, TextPair, TokenScore
from plaudit_client.fake import MODEL, FakeRewardServer
from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceStub

ITEM = ScoreItem(TextPair("Hi", "a b"), "x")
ASK = {
    "score": lambda client, n: client.score([ITEM] * n),
    "rank": lambda client, n: client.rank("Hi", ["a b"] * n),
    "score_tokens": lambda client, n: client.score_tokens([ITEM] * n),
}


def words(item):
    """A score for each; 0.5 of the first, fails for an empty response."""
    return [TokenScore(len(item.input.response.split()[0]), 0.5, 0, 1)]


def fake(**settings):
    return FakeRewardServer(lambda item: 0.5, tokens=words, **settings)


@pytest.mark.parametrize("method", ASK)
@pytest.mark.parametrize("limits", [ModelLimits(max_items=2), ModelLimits(max_request_bytes=40)])
def test_every_method_keeps_the_limits_and_is_recorded(method, limits):
    with fake() as server, RewardClient(server.address) as client:
        client.get_model()
        server.model = dataclasses.replace(MODEL, limits=limits)
        with pytest.raises(RequestTooLarge):
            ASK[method](client, 10)
        assert server.requests == []
        ASK[method](client, 2)
        ((first, second),) = server.requests
    assert first.input == second.input == ITEM.input


def test_scores_of_tokens_are_those_it_is_told():
    with fake() as server, RewardClient(server.address) as client:
        fine, broken = client.score_tokens([ITEM, ScoreItem(TextPair("Hi", ""), "y")])
    assert (fine.tokens, fine.item_id) == ((TokenScore(1, 0.5, 0, 1),), "x")
    assert (broken.item_id, broken.reason, broken.code) == ("y", "INTERNAL", "INTERNAL")
    with FakeRewardServer(lambda item: 0.5) as server, RewardClient(server.address) as client:
        with pytest.raises(InvalidRequest) as caught:
            client.score_tokens([ITEM])
        assert caught.value.reason == "WRONG_METHOD"


def test_an_item_without_input_fails_the_call():
    nothing = pb.ScoreItem()
    with fake() as server, grpc.insecure_channel(server.address) as channel:
        stub = RewardServiceStub(channel)
        for ask, request in (
            (stub.Score, pb.ScoreRequest(items=[nothing])),
            (stub.ScoreTokens, pb.ScoreTokensRequest(items=[nothing])),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                ask(request, timeout=10)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
