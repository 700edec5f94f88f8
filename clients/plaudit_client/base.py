"""What both clients of a reward server are made of: their arguments, and how they end.

client.py   RewardClient        blocks; from any thread
aio.py      AsyncRewardClient   awaits; from one event loop

open  --close(grace)-->  takes no new calls, those under way go on  --they ended, or `grace` is over-->  closed
"""

from typing import Generic

import grpc

from plaudit_client import core
from plaudit_client.channel import Channel, Connection, Open
from plaudit_client.credentials import Tls, key_metadata
from plaudit_client.errors import ClientClosed, RewardError, ServerUnavailable
from plaudit_client.retry import RetryCounts, RetryPolicy
from plaudit_client.status import from_rpc

PARALLEL = 4
"""Requests of one `score` under way at once: enough to keep several replicas busy, too few to fill a queue."""
MOST_AT_ONCE = 128
"""Requests of one client under way, over all its calls; others wait. A server takes 256 on a connection and refuses
what is beyond, and for a moment it still counts those that it has answered: the few it may refuse now are retried."""


class Client(Generic[Channel]):
    """The part of a client that neither blocks nor awaits."""

    def __init__(
        self,
        address: str,
        *,
        model: str = "",
        timeout: float = 60.0,
        retry: RetryPolicy | None = None,
        api_key: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        """`address` is a gRPC target; `model` a resource name, empty for the server's default; `timeout` in seconds.

        An `api_key` without `tls` travels in the clear.
        """
        self.address, self._key, self._tls = address, key_metadata(api_key), tls
        self._core = core.Core(model, timeout, retry or RetryPolicy())
        self._connection: Connection[Channel] | None = None
        self._closing, self._under_way = False, 0
        self._prepare()

    @property
    def counts(self) -> RetryCounts:
        """Calls and retries so far."""
        return self._core.budget.counts

    def ask_for(self, model: str) -> None:
        """Another `model`, from the next call on; those under way go on with the one that they began with."""
        self._core.model = model

    def _prepare(self) -> None:
        """What a client has from the start."""
        raise NotImplementedError

    def _connected(self, opened: Open[Channel]) -> Connection[Channel]:
        if self._connection is None:
            self._connection = Connection(opened, self.address, self._tls)
        return self._connection

    def _explained(self, error: grpc.RpcError) -> RewardError:
        explained = from_rpc(error, self.address)
        if isinstance(explained, ServerUnavailable) and self._connection is not None:
            self._connection.renew()
        return explained


def closed() -> ClientClosed:
    """What a call ends in that a client takes no more, or gives up."""
    return ClientClosed("the reward client is closed")
