"""Splits a batch into requests that the server takes, by items and by serialised bytes; never reorders.

An item that no request may hold fails alone, here, without a call.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from plaudit_client.errors import InvalidRequest
from plaudit_client.serde import item_bytes, item_to_pb
from plaudit_client.types import ModelLimits, ScoreFailure, ScoreItem
from plaudit_protos.reward.v1 import reward_pb2 as pb

Request = TypeVar("Request", pb.ScoreRequest, pb.ScoreTokensRequest)


@dataclass(frozen=True, slots=True)
class Chunk(Generic[Request]):
    """One request, and where its items stand in the batch."""

    positions: tuple[int, ...]
    request: Request


@dataclass(frozen=True, slots=True)
class Plan(Generic[Request]):
    """The requests that answer a batch, and the items that get none."""

    chunks: list[Chunk[Request]]
    failures: dict[int, ScoreFailure]
    """By position in the batch."""


def plan(items: Sequence[ScoreItem], limits: ModelLimits, empty: Request) -> Plan[Request]:
    """Every position of `items` is in exactly one chunk or among the failures; requests are `empty` with items."""
    wires: list[tuple[int, pb.ScoreItem]] = []
    failures: dict[int, ScoreFailure] = {}
    room = limits.max_request_bytes - empty.ByteSize()
    for position, item in enumerate(items):
        try:
            wire = item_to_pb(item)
            _check_size(wire, limits.max_item_bytes, room)
        except InvalidRequest as error:
            failures[position] = ScoreFailure(item.item_id, error.reason, str(error), "INVALID_ARGUMENT")
        else:
            wires.append((position, wire))
    return Plan(list(_pack(wires, limits.max_items, room, empty)), failures)


def _check_size(wire: pb.ScoreItem, max_item_bytes: int, room: int) -> None:
    if (size := item_bytes(wire)) > max_item_bytes:
        message = f"item of {size} bytes: the model takes {max_item_bytes}"
    elif (size := _cost(wire)) > room:
        message = f"item of {size} bytes: a request holds {room}"
    else:
        return
    raise InvalidRequest(message, reason="INPUT_TOO_LONG")


def _pack(
    wires: Iterable[tuple[int, pb.ScoreItem]], max_items: int, room: int, empty: Request
) -> Iterator[Chunk[Request]]:
    """Fills one request after the other."""
    batch: list[tuple[int, pb.ScoreItem]] = []
    used = 0
    for position, wire in wires:
        cost = _cost(wire)
        if batch and (len(batch) == max_items or used + cost > room):
            yield _chunk(batch, empty)
            batch, used = [], 0
        batch.append((position, wire))
        used += cost
    if batch:
        yield _chunk(batch, empty)


def _chunk(batch: list[tuple[int, pb.ScoreItem]], empty: Request) -> Chunk[Request]:
    positions, wires = zip(*batch, strict=True)
    request = type(empty)()
    request.CopyFrom(empty)
    request.items.extend(wires)
    return Chunk(positions, request)


def _cost(wire: pb.ScoreItem) -> int:
    """Bytes that the item adds to a request: a tag (one byte), its length as a varint (7 bits a byte), itself."""
    size = wire.ByteSize()
    return 1 + max(1, -(-size.bit_length() // 7)) + size
