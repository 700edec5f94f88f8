"""A learner's state as a safetensors file of named tensors, for a checkpoint.

model.{parameter}            trained weights: policy, value head, separate critic
adam.{moment}.{parameter}    the optimizer's moments and step counts
nonfinite_updates            ()
reference_sha256             (32,) uint8: what the reference policy is; it is rebuilt from its own source on resume
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plaudit.errors import ConfigurationError
from plaudit.policy.sharding import fill, full

RESTORED = ("model.", "adam.")
"""What the names begin with of tensors that are copied back."""


def restore(tensors: Mapping[str, Tensor], state: Any) -> None:
    """Copies those of an open file (`safe_open`) into the tensors of the same names, one at a time.

    Raises ConfigurationError, before any copy, on a mismatch.
    """
    found = set(filter(lambda name: name.startswith(RESTORED), state.keys()))
    if stray := sorted(tensors.keys() ^ found):
        raise ConfigurationError(f"the checkpoint is of another model: '{stray[0]}' is only on one side")
    for name, tensor in tensors.items():
        shape = tuple(state.get_slice(name).get_shape())
        if tuple(tensor.shape) != shape:
            raise ConfigurationError(
                f"the checkpoint is of another model: '{name}' is {shape} there, {tuple(tensor.shape)} here"
            )
    for name, tensor in tensors.items():
        fill(tensor, state.get_tensor(name))


def sha256(named_tensors: Iterable[tuple[str, Tensor]]) -> Tensor:
    """(32,) uint8: over names and bytes, in the order given. Collective where tensors are sharded."""
    digest = hashlib.sha256()
    for name, tensor in named_tensors:
        digest.update(name.encode())
        digest.update(full(tensor.detach()).cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return torch.from_numpy(np.frombuffer(digest.digest(), dtype=np.uint8).copy())
