import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Counter

from plaudit.errors import ConfigurationError
from plaudit.telemetry.http import Health, application, serve_in_thread


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_health_follow_the_process():
    registry = CollectorRegistry()
    steps = Counter("plaudit_steps", "Steps.", registry=registry)
    state = [Health(True)]
    thread = serve_in_thread(application(registry, lambda: state[0]), "127.0.0.1", 0)
    try:
        steps.inc(3)
        assert "plaudit_steps_total 3.0" in get(thread.port, "/metrics")[1]
        assert get(thread.port, "/health")[0] == 200
        state[0] = Health(False, "the device thread stands still")
        status, body = get(thread.port, "/health")
        assert (status, "stands still" in body) == (503, True)
    finally:
        thread.close()
    with pytest.raises(OSError, match="refused"):
        get(thread.port, "/health")


def test_health_answers_while_metrics_are_waited_for():
    class Slow:
        def collect(self):
            asked.set()
            over.wait(10)
            return ()

    registry, asked, over = CollectorRegistry(), threading.Event(), threading.Event()
    registry.register(Slow())
    asked.clear()  # a registry collects when it is told of a collector
    over.clear()
    thread = serve_in_thread(application(registry, lambda: Health(True)), "127.0.0.1", 0)
    try:
        with ThreadPoolExecutor(1) as pool:
            page = pool.submit(get, thread.port, "/metrics")
            assert asked.wait(5)
            assert get(thread.port, "/health")[0] == 200
            assert not page.done()
            over.set()
            assert page.result(5)[0] == 200
    finally:
        over.set()
        thread.close()


def test_a_port_in_use_is_one_line():
    app = application(CollectorRegistry(), lambda: Health(True))
    thread = serve_in_thread(app, "127.0.0.1", 0)
    try:
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{thread.port}"):
            serve_in_thread(app, "127.0.0.1", thread.port)
    finally:
        thread.close()
