"""Change what a reward server serves while it serves it; takes an API key with the scope `admin`.

    from plaudit_client.admin import ModelAdmin

    with ModelAdmin("localhost:50051", api_key=key) as admin:
        new = admin.load("helpful", "helpful-v2")     # beside the version that is served
        admin.update_alias(new.name)                  # from the next call on, models/helpful is that one
        admin.unload("models/helpful/versions/3f2a9c01b7de")

What is asked of a server is asked of that one replica: each has to be asked. Every call may be repeated; none is
retried here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self

import grpc

from plaudit_client import serde
from plaudit_client.base import closed
from plaudit_client.channel import open_channel
from plaudit_client.credentials import Tls, key_metadata
from plaudit_client.errors import InvalidRequest
from plaudit_client.status import from_rpc
from plaudit_client.types import ModelInfo
from plaudit_protos.reward.v1 import admin_pb2 as pb
from plaudit_protos.reward.v1 import reward_pb2
from plaudit_protos.reward.v1.admin_pb2_grpc import ModelAdminServiceStub
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceStub

PREFIX = "models/"


class ModelAdmin:
    """The models of one server. Every method raises RewardError."""

    def __init__(
        self, address: str, *, api_key: str | None = None, tls: Tls | None = None, timeout: float = 600.0
    ) -> None:
        """`address` is one replica's; `timeout` in seconds: loading takes as long as the weights are large."""
        self.address, self._key, self._timeout = address, key_metadata(api_key), timeout
        self._channel = open_channel(address, tls)
        self._admin: ModelAdminServiceStub = ModelAdminServiceStub(self._channel)
        self._rewards: RewardServiceStub = RewardServiceStub(self._channel)
        self._closed = False

    def models(self) -> list[ModelInfo]:
        """Every version that is served, by name."""
        found: list[ModelInfo] = []
        request = reward_pb2.ListModelsRequest()
        while True:
            with self._explained(changing=False):
                page = self._rewards.ListModels(request, timeout=self._timeout, metadata=self._key)
            found += map(serde.model_from_pb, page.models)
            if not page.next_page_token:
                return found
            request = reward_pb2.ListModelsRequest(page_token=page.next_page_token)

    def load(
        self,
        model: str,
        folder: str,
        *,
        update_alias: bool = False,
        dtype: Literal["", "float32", "bfloat16"] = "",
        device: str = "",
    ) -> ModelInfo:
        """The version that is served once `folder`, of the server's `model_roots`, is loaded under the name `model`.

        Raises InvalidRequest, with the reason INVALID_REQUEST where the folder or its record is missing or a link in it
        leads out of the roots, and FOLDER_REFUSED where it is none that can be served; what was served before still is.
        Raises ServerUnavailable while another one is being loaded. A new name stands for it at once; one that is known
        with `update_alias`. Empty `dtype` and `device` are those of the server's settings.
        """
        request = pb.LoadModelRequest(
            model=_resource(model), folder=folder, update_alias=update_alias, dtype=dtype, device=device
        )
        with self._explained():
            reply = self._admin.LoadModel(request, timeout=self._timeout, metadata=self._key)
        return serde.model_from_pb(reply.model)

    def unload(self, name: str) -> None:
        """One version, or all of a name; returns when the last call that has it is answered.

        Raises InvalidRequest with the reason MODEL_IN_USE where callers or an ensemble go by it.
        """
        with self._explained():
            request = pb.UnloadModelRequest(name=_resource(name))
            self._admin.UnloadModel(request, timeout=self._timeout, metadata=self._key)

    def update_alias(self, version: str) -> ModelInfo:
        """`models/{model}` stands for `models/{model}/versions/{version}` from the next call on."""
        with self._explained():
            request = pb.UpdateAliasRequest(name=_resource(version))
            reply = self._admin.UpdateAlias(request, timeout=self._timeout, metadata=self._key)
        return serde.model_from_pb(reply.model)

    def close(self) -> None:
        """Ends what is being waited for; a load that the server has begun goes on there."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _explained(self, *, changing: bool = True) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            if changing and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise InvalidRequest(
                    f"reward server {self.address} has no model_roots: it loads no other models"
                ) from None
            raise from_rpc(error, self.address) from None
        except ValueError:  # gRPC's, for a channel that is closed
            if not self._closed:
                raise
            raise closed() from None


def _resource(name: str) -> str:
    return PREFIX + name.removeprefix(PREFIX)
