import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit_client import Conversation, Message, ModelLimits, ScoreFailure, ScoreItem, TextPair, TokenPair
from plaudit_client.chunking import plan
from plaudit_client.serde import item_bytes, item_to_pb
from plaudit_protos.reward.v1 import reward_pb2 as pb

texts = st.text(st.characters(codec="utf-8"), max_size=60) | st.integers(0, 400).map(lambda n: "x" * n)
ids = st.lists(st.integers(0, 2**31 - 1), max_size=30).map(tuple)
inputs = (
    st.builds(TextPair, texts, texts)
    | st.builds(Conversation, st.lists(st.builds(Message, st.just("user"), texts), max_size=3).map(tuple))
    | st.builds(TokenPair, ids, ids, st.just("ab" * 32))
)
items = st.builds(ScoreItem, inputs, item_id=texts)
limits = st.builds(ModelLimits, max_items=st.integers(1, 5), max_request_bytes=st.integers(100, 900))


def requests_one_by_one(batch: list[ScoreItem], limit: ModelLimits, model: str) -> list[pb.ScoreRequest]:
    """Slow and plain: tries each item in the last request, and measures."""
    requests: list[pb.ScoreRequest] = []
    for item in batch:
        wire = item_to_pb(item)
        if pb.ScoreRequest(model=model, items=[wire]).ByteSize() > limit.max_request_bytes:
            continue
        tried = pb.ScoreRequest(model=model, items=[*(requests[-1].items if requests else ()), wire])
        if requests and len(tried.items) <= limit.max_items and tried.ByteSize() <= limit.max_request_bytes:
            requests[-1] = tried
        else:
            requests.append(pb.ScoreRequest(model=model, items=[wire]))
    return requests


@given(st.lists(items, max_size=12), limits, st.sampled_from(["", "models/helpful"]))
def test_requests_are_those_of_measuring_each_item(batch, limit, model):
    planned = plan(batch, limit, pb.ScoreRequest(model=model))
    assert [chunk.request for chunk in planned.chunks] == requests_one_by_one(batch, limit, model)


@given(st.lists(items, max_size=12), limits)
def test_every_item_is_asked_once_in_order_or_fails(batch, limit):
    planned = plan(batch, limit, pb.ScoreRequest())
    asked = [position for chunk in planned.chunks for position in chunk.positions]
    assert asked == sorted(asked)
    assert sorted([*asked, *planned.failures]) == list(range(len(batch)))
    for chunk in planned.chunks:
        assert list(chunk.request.items) == [item_to_pb(batch[position]) for position in chunk.positions]


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (TextPair("né", "ok"), 5),
        (Conversation((Message("user", "né"), Message("assistant", ""))), 3),
        (TokenPair((1, 2), (3,), "ab"), 12),
    ],
)
def test_an_items_size_is_its_text_in_utf8_or_four_bytes_a_token(content, size):
    assert item_bytes(item_to_pb(ScoreItem(content))) == size
    assert not plan([ScoreItem(content)], ModelLimits(max_item_bytes=size), pb.ScoreRequest()).failures
    assert plan([ScoreItem(content)], ModelLimits(max_item_bytes=size - 1), pb.ScoreRequest()).failures


@pytest.mark.parametrize("length", [*range(110, 140), *range(16370, 16390)])  # where a length takes one byte more
def test_a_request_is_filled_to_the_last_byte(length):
    item = ScoreItem(TextPair("", "r" * length))
    size = pb.ScoreRequest(items=[item_to_pb(item)] * 2).ByteSize()
    assert len(plan([item, item], ModelLimits(max_request_bytes=size), pb.ScoreRequest()).chunks) == 1
    assert len(plan([item, item], ModelLimits(max_request_bytes=size - 1), pb.ScoreRequest()).chunks) == 2


def test_an_item_too_large_fails_alone_and_says_by_how_much():
    batch = [ScoreItem(TextPair("p", "r" * n), item_id=str(n)) for n in (3, 300, 4)]
    planned = plan(batch, ModelLimits(max_item_bytes=100), pb.ScoreRequest())
    assert planned.failures == {
        1: ScoreFailure("300", "INPUT_TOO_LONG", "item of 301 bytes: the model takes 100", "INVALID_ARGUMENT")
    }
    assert [chunk.positions for chunk in planned.chunks] == [(0, 2)]


@pytest.mark.parametrize(
    "content",
    [
        TextPair("half a pair \ud800", ""),
        TokenPair((2**31,), (), ""),
        TextPair("a", 3),
        TextPair("a", None),  # which protobuf would take, and the server score as an empty response
        Conversation((Message("user", "a"), Message("assistant", None))),
        "a string",
    ],
)
def test_what_protobuf_cannot_hold_fails_alone(content):
    planned = plan([ScoreItem(content, item_id="bad"), ScoreItem(TextPair("a", "b"))], ModelLimits(), pb.ScoreRequest())
    assert planned.failures[0].reason == "INVALID_ITEM"
    assert planned.failures[0].item_id == "bad"
    assert [chunk.positions for chunk in planned.chunks] == [(1,)]
