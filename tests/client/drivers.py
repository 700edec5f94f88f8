"""Both clients behind one blocking face, so that every test of one is a test of the other."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from plaudit_client import AsyncRewardClient, RewardClient


class Awaited:
    """An AsyncRewardClient in an event loop of its own; each call runs to its end."""

    def __init__(self, address, **settings):
        self._runner = asyncio.Runner()
        self._client = AsyncRewardClient(address, **settings)
        self.address = address

    def score(self, items, **settings):
        return self._runner.run(self._client.score(items, **settings))

    def get_model(self, **settings):
        return self._runner.run(self._client.get_model(**settings))

    def wait_until_ready(self, timeout):
        return self._runner.run(self._client.wait_until_ready(timeout))

    @property
    def counts(self):
        return self._client.counts

    def shut(self):
        self._runner.run(self._client.close())

    def close(self):
        self.shut()
        self._runner.close()


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
