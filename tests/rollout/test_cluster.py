"""Wrong and dead addresses end in one clear line, quickly."""

import socket
import time

import pytest

from plaudit.errors import ConfigurationError, DependencyUnreachable
from plaudit.rollout.cluster import start_ray

# What is tested happens before Ray is touched; a running Ray would be joined instead.
pytestmark = pytest.mark.usefixtures("no_ray")


@pytest.fixture
def no_ray(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:6379", "head", "head:port", ":6379", ""])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ConfigurationError, match="host:port"):
        start_ray(address, 1)


def test_an_address_that_nobody_answers_is_unreachable():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(DependencyUnreachable, match=rf"'127.0.0.1:{port}' after 1 s.*ray start --head"):
        start_ray(f"127.0.0.1:{port}", 1, timeout_s=1)
    assert 1 <= time.monotonic() - began < 5


def test_a_running_ray_is_joined_and_left_alone(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: pytest.fail("ended a Ray that was not started here"))
    start_ray(None, 1).close()
