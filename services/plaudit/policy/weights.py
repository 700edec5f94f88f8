"""Weights as they travel: what a learner hands to the rollout workers.

    piece 0         UTF-8 JSON: [{"name", "dtype", "shape"}, ...]
    piece 1, 2 ..   the bytes of these tensors one after another, C order, little-endian, each cut after every MiB

A piece is an array of uint8, which carries every dtype, bfloat16 too, and passes through shared memory as it is: the
put there is the only copy on the way to the worker's own parameters. Ray starts threads for every piece of more than a
MiB, which at the sizes of a model's matrices makes that copy up to four times as slow (benchmarks/scale/weights.py).

Reading the pieces executes nothing: malformed ones end in `MalformedWeightsError`.
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plaudit.trajectory import Weights

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
    )
}
PIECE_BYTES = 2**20


class MalformedWeightsError(ValueError):
    """The pieces are not weights, or not those of this model."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def pieces(self) -> int:
        return -(-self.bytes // PIECE_BYTES)

    def is_cut_into(self, lengths: list[int]) -> bool:
        return sum(lengths) == self.bytes and all(length == PIECE_BYTES for length in lengths[:-1])


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that training moves, by name: with LoRA the adapter alone. Tied weights appear once."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def pack(named_tensors: Mapping[str, Tensor]) -> Weights:
    """The tensors (any device) as pieces. Those on the CPU are not copied: send them before the tensors change.

    Raises TypeError for a dtype that is not in DTYPES.
    """
    entries = [_Entry(n, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in named_tensors.items()]
    for entry in entries:
        if entry.dtype not in DTYPES:
            raise TypeError(f"'{entry.name}' is {entry.dtype}: known are {', '.join(DTYPES)}")
    header = json.dumps([asdict(entry) for entry in entries]).encode()
    return (np.frombuffer(header, dtype=np.uint8), *(piece for one in named_tensors.values() for piece in _cut(one)))


def unpack(weights: Weights) -> dict[str, Tensor]:
    """The tensors by name, copied. Raises MalformedWeightsError."""
    return {entry.name: _joined(entry, parts) for entry, parts in _read(weights)}


def load_into(model: nn.Module, weights: Weights) -> None:
    """Copies the weights into the model's trainable parameters, cast to their dtype and device.

    Raises MalformedWeightsError, before anything was copied, where names or shapes are not exactly the model's.
    """
    given, parameters = _read(weights), trainable(model)
    if stray := sorted({entry.name for entry, _ in given} ^ parameters.keys()):
        raise MalformedWeightsError(f"weights and model differ in {len(stray)} names, such as '{stray[0]}'")
    for entry, _ in given:
        if entry.shape != (own := tuple(parameters[entry.name].shape)):
            raise MalformedWeightsError(f"'{entry.name}' has shape {entry.shape}, the model {own}")
        if not parameters[entry.name].is_contiguous():
            raise MalformedWeightsError(f"'{entry.name}' of the model is not contiguous: its parts cannot be filled")
    for entry, parts in given:
        _copy_into(parameters[entry.name], parts)


def _copy_into(parameter: Tensor, parts: list[Tensor]) -> None:
    """Fills a parameter of any dtype and device with the parts of a tensor of its size, one after another."""
    sizes = [len(part) for part in parts]
    for own, part in zip(torch.split(parameter.detach().view(-1), sizes), parts, strict=True):
        own.copy_(part)


def _cut(tensor: Tensor) -> Iterator[npt.NDArray[np.uint8]]:
    whole = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return (whole[start : start + PIECE_BYTES] for start in range(0, len(whole), PIECE_BYTES))


def _joined(entry: _Entry, parts: list[Tensor]) -> Tensor:
    whole = torch.empty(entry.shape, dtype=DTYPES[entry.dtype])
    _copy_into(whole, parts)
    return whole


def _is_bytes(piece: Any) -> bool:
    return isinstance(piece, np.ndarray) and piece.dtype == np.uint8 and piece.ndim == 1


def _read(weights: Weights) -> list[tuple[_Entry, list[Tensor]]]:
    """The tensors, each in parts: flat, and views of its pieces."""
    if not weights or not all(map(_is_bytes, weights)):
        raise MalformedWeightsError("a piece is not an array of bytes, or there is none")
    found, start = [], 1
    with warnings.catch_warnings():  # read-only shared memory is the usual case, and nobody writes through the views
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        for entry in _read_header(weights[0]):
            pieces = weights[start : start + entry.pieces]
            if not entry.is_cut_into([len(piece) for piece in pieces]):
                raise MalformedWeightsError(f"{entry.name[:80]!r} is not of {entry.bytes} bytes: cut off on the way?")
            found.append((entry, [torch.from_numpy(piece).view(DTYPES[entry.dtype]) for piece in pieces]))
            start += entry.pieces
    if start != len(weights):
        raise MalformedWeightsError(f"{len(weights)} pieces, and a header of {start}")
    return found


def _read_header(header: npt.NDArray[np.uint8]) -> list[_Entry]:
    try:
        rows = json.loads(header.tobytes())
    except (ValueError, RecursionError):
        raise MalformedWeightsError("the header is not JSON") from None
    if not isinstance(rows, list):
        raise MalformedWeightsError("the header is not a list of tensors")
    entries = [_read_entry(row) for row in rows]
    if len({entry.name for entry in entries}) != len(entries):
        raise MalformedWeightsError("a tensor name occurs twice")
    return entries


def _read_entry(row: Any) -> _Entry:
    if not isinstance(row, dict) or row.keys() != {"name", "dtype", "shape"}:
        raise MalformedWeightsError("a row of the header is not {name, dtype, shape}")
    name, dtype, shape = row["name"], row["dtype"], row["shape"]
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in DTYPES:
        raise MalformedWeightsError(f"{str(name)[:80]!r} has an unknown dtype {str(dtype)[:80]!r}")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise MalformedWeightsError(f"{name[:80]!r} has a shape that is not of whole numbers")
    return _Entry(name, dtype, tuple(shape))
