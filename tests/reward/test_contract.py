"""What callers see: resources, limits, and one ErrorInfo in every error."""

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2 as details
from google.rpc.code_pb2 import Code
from grpc_status import rpc_status

from plaudit.reward import errors
from plaudit.reward.status import TABLE, to_status

from .serving import DIGITS, failure, pb, scores, serving, take_apart, text

THANKS = {"name": "thanks", "rule": {"kind": "keyword", "word": "thanks"}}


async def test_results_keep_their_place_and_their_name():
    async with serving(DIGITS) as running:
        reply = await running.score(text("", "1 2", item_id="b"), text("", "none"), text("", "7", item_id="a"))
    assert [result.item_id for result in reply.results] == ["b", "", "a"]
    assert scores(reply) == [0.4, -0.2, 0.2]


async def test_a_zero_is_a_score():
    async with serving(THANKS) as running:
        reply = await running.score(text("", "no"))
    assert reply.results[0].score.HasField("score")
    assert reply.results[0].score.score == 0


async def test_models_are_found_by_every_name_they_have():
    async with serving(DIGITS, THANKS) as running:
        described = (await running.stub.GetModel(pb.GetModelRequest(name="models/thanks"))).model
        for name in ("models/thanks", "thanks", described.name):
            assert scores(await running.score(text("", "Thanks"), model=name)) == [1.0]
        assert scores(await running.score(text("", "Thanks"))) == [-0.2]  # the first one is the default
        assert described.limits.max_items == 1024
        for name in ("models/other", "models/thanks/versions/other"):
            found = await failure(running.score(text("", ""), model=name))
            assert (found.code, found.reason) == (Code.NOT_FOUND, "MODEL_NOT_FOUND")
            assert found.details[1].resource_name == name


async def test_models_are_listed_page_by_page():
    models = [{**DIGITS, "name": name} for name in "bdace"]
    async with serving(*models) as running:
        names, token = [], ""
        while True:
            page = await running.stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=token))
            names += [model.name.split("/")[1] for model in page.models]
            token = page.next_page_token
            if not token:
                break
        assert names == list("abcde")
        assert (await failure(running.stub.ListModels(pb.ListModelsRequest(page_size=-1)))).reason == "INVALID_REQUEST"


async def test_malformed_items_fail_one_by_one():
    messages = [pb.Message(role="user", content="Hi"), pb.Message(role="assistant", content="1")]
    items = [
        pb.ScoreItem(),
        text("", "1", finish_reason=99),
        pb.ScoreItem(conversation=pb.Conversation(messages=messages[:1])),
        pb.ScoreItem(tokens=pb.TokenPair(prompt_ids=[1], response_ids=[2])),
        text("x" * 101, ""),
        pb.ScoreItem(conversation=pb.Conversation(messages=messages)),
    ]
    async with serving(DIGITS, limits={"max_item_bytes": 100}) as running:
        reply = await running.score(*items)
    for result in reply.results[:5]:
        found = take_apart(result.error)
        assert (found.code, found.reason) == (Code.INVALID_ARGUMENT, "INVALID_ITEM")
        assert isinstance(found.details[1], details.BadRequest)
    assert reply.results[5].score.score == 0.2


async def test_calls_that_break_the_contract_fail_whole():
    async with serving(DIGITS, limits={"max_items": 2, "max_request_bytes": 100_000}) as running:
        assert (await failure(running.score())).reason == "INVALID_REQUEST"
        assert (await failure(running.score(*[text("", "")] * 3))).reason == "BATCH_TOO_LARGE"


async def test_the_transports_own_refusals_carry_no_detail():
    async with serving(DIGITS, limits={"max_request_bytes": 1000}) as running:
        malformed = running.channel.unary_unary("/plaudit_protos.reward.v1.RewardService/Score")(b"\xff\xff")
        too_large = running.score(text("x" * 2000, ""))
        for call, code in ((malformed, grpc.StatusCode.UNKNOWN), (too_large, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is code
            assert rpc_status.from_call(caught.value) is None


def test_the_table_has_every_error_and_every_status_is_well_formed():
    leaves = [kind for kind in every_kind(errors.RequestError) if not kind.__subclasses__()]
    assert set(leaves) == set(TABLE)
    for kind, (code, reason) in TABLE.items():
        found = take_apart(to_status(make(kind)))
        assert (found.code, found.reason) == (code, reason)
        retry = [detail for detail in found.details if isinstance(detail, details.RetryInfo)]
        assert len(retry) == (code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED))


def test_an_unknown_error_says_nothing_of_itself():
    found = take_apart(to_status(ValueError("the prompt was: secret")))
    assert (found.code, found.reason) == (Code.INTERNAL, "INTERNAL")
    assert "secret" not in str(found)


def every_kind(kind: type) -> list[type]:
    return [kind, *(below for sub in kind.__subclasses__() for below in every_kind(sub))]


def make(kind: type[errors.RequestError]) -> errors.RequestError:
    arguments = {
        errors.InvalidItem: ("text", "is wrong"),
        errors.InvalidRequest: ("items", "is wrong"),
        errors.InputTooLong: (9, 3),
        errors.ModelNotFound: ("models/x", ["models/y"]),
        errors.ModelInUse: ("models/x", "it is the default"),
        errors.FolderRefused: ("it has no weights",),
        errors.LoadUnderWay: ("y",),
        errors.WrongMethod: ("m", "Score"),
        errors.PermissionDenied: ("admin",),
        errors.QuotaExceeded: ("trainer", "5 tokens a second", 0.5),
        errors.QueueFull: (0.5,),
        errors.DeadlineUnreachable: (0.5,),
    }
    return kind(*arguments.get(kind, ()))
