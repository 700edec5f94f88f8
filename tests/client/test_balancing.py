"""Several replicas behind one address: all take their share, and those that are not ready get no requests."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from plaudit_client import ScoreItem, ServerUnavailable, TextPair
from plaudit_client.fake import FakeRewardServer
from plaudit_protos.reward.v1.reward_pb2_grpc import add_RewardServiceServicer_to_server

from .drivers import DRIVERS, connected

pytestmark = pytest.mark.parametrize("driver", DRIVERS)

READY, NOT_READY = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
ITEMS = [ScoreItem(TextPair("p", "r"))]


class Replica:
    """A fake reward server that reports its health as grpcio-health-checking does."""

    def __init__(self, fake: FakeRewardServer, address: str, servicer: health.HealthServicer):
        self.fake, self.address, self._health = fake, address, servicer

    def report(self, status: int) -> None:
        self._health.set("", status)

    @property
    def share(self) -> int:
        return len(self.fake.requests)


@contextmanager
def replica() -> Iterator[Replica]:
    server, servicer = grpc.server(ThreadPoolExecutor(8)), health.HealthServicer()
    with FakeRewardServer(lambda item: 1.0) as fake:
        add_RewardServiceServicer_to_server(fake, server)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield Replica(fake, address, servicer)
        finally:
            server.stop(grace=None).wait()


@pytest.fixture
def replicas():
    with ExitStack() as stack:
        yield [stack.enter_context(replica()) for _ in range(2)]


def target(replicas: list[Replica]) -> str:
    return "ipv4:" + ",".join(replica.address for replica in replicas)


def score_until(client, condition) -> None:
    """Keeps asking; every request must get its score."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        assert client.score(ITEMS)[0].value == 1.0


def test_replicas_share_the_load_and_draining_fails_no_request(driver, replicas):
    first, second = replicas
    with connected(driver, target(replicas)) as client:
        client.wait_until_ready(10)
        score_until(client, lambda: first.share > 5 and second.share > 5)
        first.report(NOT_READY)
        time.sleep(0.2)
        before, other = first.share, second.share
        score_until(client, lambda: second.share > other + 20)
        assert first.share == before
        first.report(READY)
        score_until(client, lambda: first.share > before + 5)
        assert client.counts.retries == 0


def test_a_server_that_is_not_ready_is_waited_for(driver, replicas):
    (only,) = replicas[:1]
    only.report(NOT_READY)
    with connected(driver, only.address) as client:
        with pytest.raises(ServerUnavailable, match=r"not ready after 0\.3 s"):
            client.wait_until_ready(0.3)
        only.report(READY)
        client.wait_until_ready(10)
        assert client.score(ITEMS)[0].value == 1.0
