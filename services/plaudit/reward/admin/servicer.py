"""ModelAdminService: decode, call, encode. Who may call it is the gate's business."""

import re
from collections.abc import Callable
from typing import get_args

from plaudit.reward.admin.loads import Dtype, Loads, Wanted
from plaudit.reward.admin.roots import Roots
from plaudit.reward.assemble import in_thread
from plaudit.reward.catalog import PREFIX, Catalog, split
from plaudit.reward.errors import Draining, InvalidRequest, ModelLoading, ModelNotFound
from plaudit.reward.served import Served
from plaudit.reward.servicer import Context
from plaudit.reward.settings import NAME
from plaudit_protos.reward.v1 import admin_pb2 as pb
from plaudit_protos.reward.v1 import reward_pb2
from plaudit_protos.reward.v1.admin_pb2_grpc import ModelAdminServiceServicer

DTYPES: dict[str, Dtype] = {dtype: dtype for dtype in get_args(Dtype)}
DEVICE = re.compile(r"[a-z]{1,16}(:\d{1,4})?")


class ModelAdminServicer(ModelAdminServiceServicer):
    """The contract of admin.proto. `describe` makes a ModelInfo."""

    def __init__(
        self, catalog: Catalog, loads: Loads, roots: Roots, describe: Callable[[Served], reward_pb2.ModelInfo]
    ) -> None:
        self._catalog, self._loads, self._roots, self._describe = catalog, loads, roots, describe

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.LoadModelResponse:  # noqa: N802
        """See the .proto."""
        self._check_open()
        name, dtype, device = _name(request.model), request.dtype, request.device
        if dtype and dtype not in DTYPES:
            raise InvalidRequest("dtype", f"must be {' or '.join(DTYPES)}")
        if device and not DEVICE.fullmatch(device):
            raise InvalidRequest("device", "must be one such as cpu or cuda:1")
        folder = await in_thread(lambda: self._roots.find(request.folder))
        wanted = Wanted(name, folder, request.update_alias, DTYPES.get(dtype), device or None)
        return pb.LoadModelResponse(model=self._describe(await self._loads.load(wanted)))

    async def UnloadModel(  # noqa: N802
        self, request: pb.UnloadModelRequest, context: Context
    ) -> pb.UnloadModelResponse:
        """See the .proto."""
        self._check_open()
        if not request.name:
            raise InvalidRequest("name", "is required")
        try:
            leaving = self._catalog.take_out(request.name)
        except ModelNotFound:  # asked again while it leaves
            if not await self._loads.until_closed(request.name):
                raise
        else:
            await self._loads.unload(leaving)
        return pb.UnloadModelResponse()

    async def UpdateAlias(  # noqa: N802
        self, request: pb.UpdateAliasRequest, context: Context
    ) -> pb.UpdateAliasResponse:
        """See the .proto."""
        self._check_open()
        if not split(request.name)[1]:
            raise InvalidRequest("name", "must be models/{model}/versions/{version}")
        return pb.UpdateAliasResponse(model=self._describe(self._catalog.update_alias(request.name)))

    def _check_open(self) -> None:
        if self._catalog.draining:
            raise Draining
        if not self._catalog.loaded:
            raise ModelLoading


def _name(resource: str) -> str:
    """Raises InvalidRequest for what is no `models/{model}`."""
    name = resource.removeprefix(PREFIX)
    if not re.fullmatch(NAME, name):
        raise InvalidRequest("model", "must be models/{model}: lower-case letters, digits, '.', '_' and '-'")
    return name
