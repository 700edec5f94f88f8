"""Our own JSON: the contract of reward.proto, errors of single items included, and an OpenAPI document that says so."""

import grpc
import jsonschema
import pytest
from google.protobuf import json_format

from plaudit.reward.forms import openapi
from plaudit_protos.reward.v1 import reward_pb2 as pb
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceStub

PAIRS = [("What does a ticket cost?", " 12 euros."), ("a", "too long " * 100)]
ITEMS = [{"itemId": str(at), "text": {"prompt": p, "response": r}} for at, (p, r) in enumerate(PAIRS)]


@pytest.fixture
def stub(server):
    with grpc.insecure_channel(server.address) as channel:
        yield RewardServiceStub(channel)


def without_times(reply: dict) -> dict:
    return {key: value for key, value in reply.items() if key != "timings"}


def check(tree: object, name: str) -> None:
    """Against the document's schema, which is made exact for it: no field that it does not have."""
    schemas = openapi.document()["components"]["schemas"]
    exact = {
        key: schema if key == "Error" else {**schema, "additionalProperties": False} for key, schema in schemas.items()
    }
    jsonschema.validate(tree, {"$ref": f"#/components/schemas/{name}", "components": {"schemas": exact}})


@pytest.mark.parametrize(
    ("method", "rpc", "kind", "body"),
    [
        ("quality:score", "Score", "ScoreRequest", {"items": ITEMS}),
        ("chat:rankCandidates", "RankCandidates", "RankCandidatesRequest", {
            "text": "What?", "topN": 1, "candidates": [{"candidateId": r[:3], "response": r} for _, r in PAIRS]
        }),
        ("steps:scoreTokens", "ScoreTokens", "ScoreTokensRequest", {"items": ITEMS}),
    ],
)  # fmt: skip
def test_it_says_what_grpc_says(ask, stub, method, rpc, kind, body):
    check(body, kind)
    wire = json_format.ParseDict({"model": f"models/{method.split(':')[0]}", **body}, getattr(pb, kind)())
    reply = ask(f"/v1/models/{method}", body)
    check(reply, rpc + "Response")
    assert without_times(reply) == without_times(json_format.MessageToDict(getattr(stub, rpc)(wire)))
    assert "INPUT_TOO_LONG" in str(reply)


def test_both_spellings_of_a_field_are_read_and_one_is_written(ask):
    camel = ask("/v1/models/digits:score", {"items": [{"itemId": "x", "text": {"response": "1"}, "finishReason": 2}]})
    snake = {"items": [{"item_id": "x", "text": {"response": "1"}, "finish_reason": "FINISH_REASON_LENGTH"}]}
    assert without_times(ask("/v1/models/digits:score", snake)) == without_times(camel)
    assert camel["results"][0]["itemId"] == "x"
    assert camel["results"][0]["score"] == {"score": 0.2, "rawScore": 0.2}


def test_a_score_of_zero_is_written(ask):
    """A field that is not there is no score; 0 is one."""
    reply = ask("/rerank", {"model": "digits", "query": "", "documents": ["x"]})
    assert reply["results"][0]["relevance_score"] == -0.2
    message = pb.Score(score=0.0, raw_score=0.0)
    assert json_format.MessageToDict(message) == {"score": 0.0, "rawScore": 0.0}


def test_a_model_is_named_by_its_address_a_version_included(ask):
    version = ask.get("/v1/models/digits").json()["model"]["provenance"]["version"]
    body = {"items": [{"text": {"response": "1"}}]}
    versioned = ask(f"/v1/models/digits/versions/{version}:score", body)
    assert versioned["model"]["version"] == version
    assert ask("/v1/models/digits:score", {**body, "model": "models/digits"})["results"] == versioned["results"]
    ask.refused("/v1/models/digits/versions/other:score", body, 404)
    ask.refused("/v1/models/digits:score", {**body, "model": "models/chat"}, 400)
    for path in ("..%2F..%2Fetc%2Fpasswd", "%2Ftmp", "models/digits/versions"):
        error = ask.refused(f"/v1/models/{path}:score", body, 404)
        check(error, "Error")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "items: at least one is required"),
        ({"items": [{"texts": {}}]}, "has no field 'texts'"),
        ({"items": [{"text": {"prompt": 3}}]}, "is no ScoreRequest"),
        ({"items": "SECRET"}, "is no ScoreRequest"),
        ({"items": [{"finishReason": "SECRET"}]}, "is no ScoreRequest"),
    ],
)
def test_what_is_no_request_is_refused_without_repeating_it(ask, body, said):
    error = ask.refused("/v1/models/digits:score", body, 400)
    check(error, "Error")
    assert said in error["error"]["message"]
    assert "SECRET" not in str(error)
    assert error["error"]["status"] == "INVALID_ARGUMENT"
    assert error["error"]["details"][0]["reason"] == "INVALID_REQUEST"


def test_models_are_listed_for_our_clients_and_for_openais(ask, stub):
    page = ask.get("/v1/models").json()
    ids = [one["id"] for one in page["data"]]
    assert (ids[0], ids[-1]) == ("quality", "/data/models/Reward-8B")  # scripts take the first one
    ours = json_format.MessageToDict(stub.ListModels(pb.ListModelsRequest()))
    assert page["models"] == ours["models"]
    check({"models": page["models"]}, "ListModelsResponse")
    first = ask.get("/v1/models?page_size=2").json()
    rest = ask.get(f"/v1/models?pageSize=100&pageToken={first['nextPageToken']}").json()
    assert first["models"] + rest["models"] == page["models"]
    for wrong in ("-1", "x", "9" * 20, "²"):
        assert ask.get(f"/v1/models?page_size={wrong}").status_code == 400


def test_one_model_is_described_with_its_limits(ask, stub):
    one = ask.get("/v1/models/quality").json()
    check({"model": one["model"]}, "GetModelResponse")
    assert one["model"] == json_format.MessageToDict(stub.GetModel(pb.GetModelRequest(name="quality")))["model"]
    assert (one["id"], one["object"]) == ("quality", "model")
    assert ask.get("/v1/models/nobody").status_code == 404


def test_the_document_is_served_and_names_what_it_uses(ask):
    document = ask.get("/openapi.json").json()
    assert document == openapi.document()
    assert "/v1/models/{model}:scoreTokens" in document["paths"]
    rpcs = {method.name for method in pb.DESCRIPTOR.services_by_name["RewardService"].methods}
    assert {one["operationId"] for path in document["paths"].values() for one in path.values()} == rpcs
    references = set(str(document).split("#/components/schemas/")[1:])
    assert {one.split("'")[0] for one in references} <= set(document["components"]["schemas"])


def test_a_field_that_the_contract_lacks_does_not_pass_the_document(ask):
    with pytest.raises(jsonschema.ValidationError, match="reward"):
        check({"results": [{"reward": 1.0}]}, "ScoreResponse")
    with pytest.raises(jsonschema.ValidationError):
        check({"results": [{"score": {"score": "1.0"}}]}, "ScoreResponse")
    with pytest.raises(jsonschema.ValidationError):
        check({}, "ScoreRequest")
