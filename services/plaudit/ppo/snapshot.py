"""A learner's state as named numpy arrays, for a checkpoint.

model.{parameter}            trained weights: policy, value head, separate critic
adam.{moment}.{parameter}    the optimizer's moments and step counts
nonfinite_updates            ()
reference_sha256             (32,) uint8: what the reference policy is; it is rebuilt from its own source on resume
"""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plaudit.errors import ConfigurationError
from plaudit.policy.sharding import fill, full

State = dict[str, npt.NDArray[np.generic]]


def to_arrays(tensors: Mapping[str, Tensor]) -> State:
    """Copies, of tensors on the CPU."""
    return {name: tensor.numpy().copy() for name, tensor in tensors.items()}


def restore(tensors: Mapping[str, Tensor], state: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Copies arrays into the tensors of the same names. Raises ConfigurationError, before any copy, on a mismatch."""
    if stray := sorted(tensors.keys() ^ state.keys()):
        raise ConfigurationError(f"the checkpoint is of another model: '{stray[0]}' is only on one side")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != state[name].shape:
            raise ConfigurationError(
                f"the checkpoint is of another model: '{name}' is {state[name].shape} there, {tuple(tensor.shape)} here"
            )
    for name, tensor in tensors.items():
        fill(tensor, torch.from_numpy(np.array(state[name])))


def sha256(named_tensors: Iterable[tuple[str, Tensor]]) -> npt.NDArray[np.uint8]:
    """(32,): over names and bytes, in the order given. Collective where tensors are sharded."""
    digest = hashlib.sha256()
    for name, tensor in named_tensors:
        digest.update(name.encode())
        digest.update(full(tensor.detach()).cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return np.frombuffer(digest.digest(), dtype=np.uint8)
