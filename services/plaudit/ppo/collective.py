"""How the ranks of a data-parallel learner add up what each has computed."""

from typing import Protocol

import torch
import torch.distributed
from torch import Tensor


class Collective(Protocol):
    """One rank's view of its group."""

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    def all_reduce_sum(self, tensor: Tensor) -> None:
        """Replaces `tensor` on every rank by its sum over all ranks; all ranks have to call it in the same order."""
        ...


class Single:
    """A group of one."""

    rank = 0
    world_size = 1

    def all_reduce_sum(self, tensor: Tensor) -> None:
        """The sum over one rank is what is there."""


class TorchDistributed:
    """The default process group of `torch.distributed`, which has to be initialised."""

    def __init__(self) -> None:
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()

    def all_reduce_sum(self, tensor: Tensor) -> None:
        torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.SUM)
