"""The client that changes what a server serves: what its errors say. What it does is tested with the server's."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from plaudit_client import ClientClosed, InvalidRequest, ServerFault
from plaudit_client.admin import ModelAdmin
from plaudit_client.fake import FakeRewardServer
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceServicer, add_RewardServiceServicer_to_server

CALLS = {
    "models": lambda admin: admin.models(),
    "load": lambda admin: admin.load("m", "m"),
    "unload": lambda admin: admin.unload("m"),
    "update_alias": lambda admin: admin.update_alias("m/versions/1"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_after_close_says_that_the_client_is_closed(name):
    with FakeRewardServer(lambda item: 1.0) as server:
        with ModelAdmin(server.address) as admin:
            admin.models()
        with pytest.raises(ClientClosed):
            CALLS[name](admin)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "models"])
def test_a_server_without_model_roots_is_told_of_as_one(name):
    with FakeRewardServer(lambda item: 1.0) as server, ModelAdmin(server.address) as admin:
        admin.models()
        with pytest.raises(InvalidRequest, match="has no model_roots"):
            CALLS[name](admin)


def test_a_server_that_lists_no_models_is_not_said_to_lack_model_roots():
    server = grpc.server(ThreadPoolExecutor(1))
    add_RewardServiceServicer_to_server(RewardServiceServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with ModelAdmin(f"127.0.0.1:{port}") as admin, pytest.raises(ServerFault, match="Method not implemented"):
            admin.models()
    finally:
        server.stop(grace=None).wait()
