"""Both clients behind one blocking face, so that every test of one is a test of the other."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from plaudit_client import AsyncRewardClient, RewardClient


class Awaited:
    """An AsyncRewardClient in an event loop of its own; each call runs to its end, from any thread."""

    def __init__(self, address, **settings):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = AsyncRewardClient(address, **settings)
        self.address = address

    def _run(self, call):
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def score(self, items, **settings):
        return self._run(self._client.score(items, **settings))

    def get_model(self, **settings):
        return self._run(self._client.get_model(**settings))

    def wait_until_ready(self, timeout):
        return self._run(self._client.wait_until_ready(timeout))

    @property
    def counts(self):
        return self._client.counts

    def shut(self, grace=0.0):
        self._run(self._client.close(grace))

    def close(self):
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking(RewardClient):
    shut = RewardClient.close


DRIVERS = {"blocking": Blocking, "awaited": Awaited}


@contextmanager
def connected(driver: str, address: str, **settings) -> Iterator[Blocking | Awaited]:
    client = DRIVERS[driver](address, **settings)
    try:
        yield client
    finally:
        client.close()
