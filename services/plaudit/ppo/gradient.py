"""The gradient of all trained parameters, and how it is added up over ranks."""

import torch
from torch import Tensor, nn

from plaudit.policy.sharding import as_part_of, is_sharded, own_part
from plaudit.ppo.collective import Collective


class Gradient:
    """One buffer of what this rank holds; each parameter's `grad` is a view of it, which backward passes add into.

    Of parameters that every rank holds, it is a term of the sum over ranks: one call adds them up and costs no copy. Of
    sharded ones, it is this rank's part of the sum: their backward pass has added up already.
    """

    def __init__(self, parameters: list[nn.Parameter], collective: Collective) -> None:
        parts = [own_part(parameter.detach()) for parameter in parameters]
        sizes = [part.numel() for part in parts]
        self._flat = torch.zeros(sum(sizes), dtype=torch.float32, device=parts[0].device)
        for parameter, part, view in zip(parameters, parts, torch.split(self._flat, sizes), strict=True):
            parameter.grad = as_part_of(parameter, view.view_as(part))
        self._sharded = any(map(is_sharded, parameters))
        self._collective = collective

    def zero(self) -> None:
        self._flat.zero_()

    def scale(self, factor: Tensor) -> None:
        """By the same factor () on all ranks."""
        self._flat.mul_(factor)

    def add_up(self) -> Tensor:
        """(): the norm of the sum over ranks, of which this rank holds all or its part from here on. Collective."""
        if not self._sharded:
            self._collective.all_reduce_sum(self._flat)
        squares = torch.linalg.vector_norm(self._flat).double().square()
        if self._sharded:
            self._collective.all_reduce_sum(squares)
        return torch.sqrt(squares).float()
