"""Weights that lie in parts on the ranks of a process group: torch's FSDP2. Nothing else here knows of it.

    at rest     a rank holds some rows of every parameter, of its gradient and of its moments (a DTensor each)
    in a pass   each block's weights are gathered just before it computes and dropped after it, the rest once per pass;
                the backward pass gathers them again, adds the gradients up over the ranks, and leaves each its rows

To gather is to meet: every rank has to run as many passes as the others, in the same order, and to call what is marked
collective here whenever the others do. Tensors that are not sharded pass through all of it as they are.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(model: nn.Module, passes: Sequence[str], apart: Sequence[nn.Module], device: torch.device) -> None:
    """Leaves each rank of the default group its part of `model`, on `device`; `model` is equal on all ranks before.

    `passes` are the methods beside `forward` that read its weights; those of the modules `apart` are read in `whole`
    alone. Gradients are summed over the ranks, not averaged: a loss is divided by the tokens of the whole mini-batch.
    """
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for module in (*_blocks(model), *apart, model):
        unit = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)  # gloo can only sum
    for name in passes:
        register_fsdp_forward_method(model, name)


def _blocks(model: nn.Module) -> list[nn.Module]:
    """What transformers would not split over devices: a model's layers, inner ones first."""
    names = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    return [module for module in reversed(list(model.modules())) if type(module).__name__ in names]


@contextlib.contextmanager
def whole(module: nn.Module | None) -> Iterator[None]:
    """Within it a module `apart` has all its weights but those of its blocks, which gather their own. Collective."""
    if isinstance(module, FSDPModule):
        module.unshard()
    try:
        yield
    finally:
        if isinstance(module, FSDPModule):
            module.reshard()


def is_sharded(tensor: Tensor) -> bool:
    return isinstance(tensor, DTensor)


def own_part(tensor: Tensor) -> Tensor:
    """This rank's rows, on the same memory."""
    part: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return part


def as_part_of(tensor: Tensor, part: Tensor) -> Tensor:
    """`part`, which is like `own_part(tensor)`, as this rank's rows of something like `tensor`, on the same memory."""
    if not isinstance(tensor, DTensor):
        return part
    mesh, placements = tensor.device_mesh, tensor.placements
    return DTensor.from_local(part, mesh, placements, shape=tensor.size(), stride=tensor.stride())


def full(tensor: Tensor) -> Tensor:
    """All ranks' rows. Collective."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def gathered(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """All of them `full` and on the CPU, one after the other; where they are not to be kept, {}. Collective.

    Tensors that are one (tied weights) stay one.
    """
    found: dict[int, Tensor] = {}
    for key, tensor in {id(tensor): tensor for tensor in tensors.values()}.items():
        one = full(tensor.detach())
        if keep:
            found[key] = one.cpu()
    return {name: found[id(tensor)] for name, tensor in tensors.items()} if keep else {}


@torch.no_grad()
def fill(tensor: Tensor, values: Tensor) -> None:
    """Copies `values`, the same on all ranks and of the whole tensor, into it."""
    if isinstance(tensor, DTensor):
        values = distribute_tensor(values.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None)
    tensor.copy_(values)
