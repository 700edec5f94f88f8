"""Wrong and dead addresses end in one clear line, quickly."""

import socket
import time

import pytest

from plaudit.errors import ConfigurationError, DependencyUnreachable
from plaudit.rollout import cluster
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
    with pytest.raises(DependencyUnreachable, match=rf"'127.0.0.1:{port}' .*for 1 s.*ray start --head"):
        start_ray(f"127.0.0.1:{port}", 1, timeout_s=1)
    assert 1 <= time.monotonic() - began < 5


def test_auto_needs_a_node_on_this_machine(monkeypatch):
    def none(_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(cluster, "canonicalize_bootstrap_address", none)  # others' tests may have one here
    with pytest.raises(DependencyUnreachable, match=r"'auto' .no Ray node runs on this machine.: start it"):
        start_ray("auto", 1)


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:{port}"])
def test_what_ray_says_of_an_address_is_one_line_with_a_remedy(monkeypatch, address):
    def init(*_, **__):
        raise RuntimeError("Failed to connect to GCS\nTraceback ...")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "1")  # start_ray sets it: here it is undone afterwards
    with socket.create_server(("127.0.0.1", 0)) as somebody_else:
        there = f"127.0.0.1:{somebody_else.getsockname()[1]}"
        monkeypatch.setattr(cluster, "canonicalize_bootstrap_address", lambda _: there)
        address = address.format(port=somebody_else.getsockname()[1])
        with pytest.raises(DependencyUnreachable, match=rf"'{there}' .Failed to connect to GCS.: start it"):
            start_ray(address, 1)


def test_a_running_ray_is_joined_and_left_alone(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: pytest.fail("ended a Ray that was not started here"))
    start_ray(None, 1).close()


def test_a_ray_that_does_not_start_is_one_line_with_a_remedy(monkeypatch):
    def init(*_, **__):
        raise Exception("The current node timed out during startup.\nmore")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(DependencyUnreachable, match=r"^Ray did not start .*timed out during startup.*logs say why$"):
        start_ray(None, 1)
