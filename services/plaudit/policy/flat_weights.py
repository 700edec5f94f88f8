"""Weights in one flat byte buffer: what a learner hands to the rollout workers.

    offset 0    magic  b"PLAUDITW"
           8    length of the header in bytes, little-endian uint64
          16    header, UTF-8 JSON: [{"name", "dtype", "shape", "offset"}, ...]
           .    zeros up to the next multiple of 64
           .    the tensors, C order, little-endian, each at its `offset` (from the buffer's start, a multiple of 64)

One buffer travels through shared memory without a copy; uint8 carries every dtype, bfloat16 too. Reading one executes
nothing: a malformed buffer ends in `MalformedWeightsError`.
"""

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

MAGIC = b"PLAUDITW"
ALIGNMENT = 64
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
_PREFIX = len(MAGIC) + 8

Buffer = npt.NDArray[np.uint8]


class MalformedWeightsError(ValueError):
    """The bytes are not a flat weights buffer, or not one for this model."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that training moves, by name: with LoRA the adapter alone. Tied weights appear once."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def pack(named_tensors: Mapping[str, Tensor]) -> Buffer:
    """Copies the tensors (any device) into one buffer."""
    entries, end = _lay_out(named_tensors)
    header = _header(entries)
    buffer = np.zeros(end, dtype=np.uint8)
    buffer[: len(header)] = np.frombuffer(header, dtype=np.uint8)
    for entry in entries:
        _view(buffer, entry).copy_(named_tensors[entry.name].detach())
    return buffer


def unpack(buffer: Buffer) -> dict[str, Tensor]:
    """The tensors by name, as views of `buffer`: copy before writing, and keep the buffer unchanged while they live.

    Raises MalformedWeightsError.
    """
    return {entry.name: _view(buffer, entry) for entry in _read_entries(buffer)}


def load_into(model: nn.Module, buffer: Buffer) -> None:
    """Copies the buffer into the model's trainable parameters, cast to their dtype and device.

    Raises MalformedWeightsError, before anything was copied, where names or shapes are not exactly the model's.
    """
    tensors, parameters = unpack(buffer), trainable(model)
    if tensors.keys() != parameters.keys():
        stray = sorted(tensors.keys() ^ parameters.keys())
        raise MalformedWeightsError(f"weights and model differ in {len(stray)} names, such as '{stray[0]}'")
    for name, parameter in parameters.items():
        if tensors[name].shape != parameter.shape:
            raise MalformedWeightsError(
                f"'{name}' has shape {tuple(tensors[name].shape)}, the model {tuple(parameter.shape)}"
            )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def _lay_out(named_tensors: Mapping[str, Tensor]) -> tuple[list[_Entry], int]:
    """Entries with their final offsets, and where the buffer ends."""
    unplaced = [_Entry(n, str(t.dtype).removeprefix("torch."), tuple(t.shape), 0) for n, t in named_tensors.items()]
    for entry in unplaced:
        if entry.dtype not in DTYPES:
            raise TypeError(f"'{entry.name}' is {entry.dtype}: known are {', '.join(DTYPES)}")
    # Offsets change the header's length: place the tensors behind a header with the largest offsets there can be.
    widest = 2**62
    room = len(_header([_Entry(e.name, e.dtype, e.shape, widest) for e in unplaced]))
    entries, end = [], _aligned(room)
    for entry in unplaced:
        entries.append(_Entry(entry.name, entry.dtype, entry.shape, end))
        end = _aligned(end + entry.bytes)
    return entries, end


def _header(entries: list[_Entry]) -> bytes:
    text = json.dumps([asdict(entry) for entry in entries]).encode()
    return MAGIC + len(text).to_bytes(8, "little") + text


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _view(buffer: Buffer, entry: _Entry) -> Tensor:
    with warnings.catch_warnings():  # read-only shared memory is the usual case, and nobody writes through the views
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        raw = torch.from_numpy(buffer[entry.offset : entry.offset + entry.bytes])
    return raw.view(DTYPES[entry.dtype]).view(entry.shape)


def _read_entries(buffer: Buffer) -> list[_Entry]:
    if buffer.dtype != np.uint8 or buffer.ndim != 1 or len(buffer) < _PREFIX or buffer[: len(MAGIC)].tobytes() != MAGIC:
        raise MalformedWeightsError("not a flat weights buffer (its first bytes are not 'PLAUDITW')")
    length = int.from_bytes(buffer[len(MAGIC) : _PREFIX].tobytes(), "little")
    if length > len(buffer) - _PREFIX:
        raise MalformedWeightsError(f"header of {length} bytes in a buffer of {len(buffer)}: cut off on the way?")
    try:
        rows = json.loads(buffer[_PREFIX : _PREFIX + length].tobytes())
    except (ValueError, RecursionError):
        raise MalformedWeightsError("the header is not JSON") from None
    if not isinstance(rows, list):
        raise MalformedWeightsError("the header is not a list of tensors")
    entries = [_read_entry(row, _PREFIX + length, len(buffer)) for row in rows]
    if len({entry.name for entry in entries}) != len(entries):
        raise MalformedWeightsError("a tensor name occurs twice")
    return entries


def _read_entry(row: Any, start: int, end: int) -> _Entry:
    """Checks one row of the header against where the tensors may lie: [start, end)."""
    if not isinstance(row, dict) or row.keys() != {"name", "dtype", "shape", "offset"}:
        raise MalformedWeightsError("a row of the header is not {name, dtype, shape, offset}")
    name, dtype, shape, offset = row["name"], row["dtype"], row["shape"], row["offset"]
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in DTYPES:
        raise MalformedWeightsError(f"{str(name)[:80]!r} has an unknown dtype {str(dtype)[:80]!r}")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in [offset, *shape]):
        raise MalformedWeightsError(f"{name[:80]!r} has a shape or offset that is not a whole number")
    entry = _Entry(name, dtype, tuple(shape), offset)
    if offset < start or offset % ALIGNMENT or offset + entry.bytes > end:
        raise MalformedWeightsError(f"{name[:80]!r} lies outside the buffer: cut off on the way?")
    return entry
