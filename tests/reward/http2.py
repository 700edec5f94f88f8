"""HTTP/2 by hand, for what no client library does: connections that say nothing, never read, or ping too often."""

import asyncio
import struct
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0x0, 0x1, 0x4, 0x6, 0x7, 0x8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
INITIAL_WINDOW_SIZE = 0x4
ENHANCE_YOUR_CALM = 0xB
LARGEST_FRAME = 16384


class Frame(NamedTuple):
    """One frame as it was read."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Connection:
    """A client's end of one connection. It answers nothing by itself, not even the server's pings."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> None:
        head = struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream)
        self._writer.write(head + payload)

    def ping(self) -> None:
        self.send(PING, b"any data")

    def call(self, path: str, message: bytes, stream: int = 1, encoding: str = "identity") -> None:
        """A unary gRPC call; `message` as `encoding` makes it, whatever its size."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test", "te": "trailers"}
        fields |= {"content-type": "application/grpc", "grpc-encoding": encoding}
        self.send(HEADERS, _literals(fields), END_HEADERS, stream)
        body = struct.pack(">?I", encoding != "identity", len(message)) + message
        for start in range(0, len(body), LARGEST_FRAME):
            self.send(DATA, body[start : start + LARGEST_FRAME], stream=stream)
        self.send(DATA, flags=END_STREAM, stream=stream)

    async def read(self) -> Frame | None:
        """The next frame; None when the server has closed."""
        try:
            head = await self._reader.readexactly(9)
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            return Frame(kind, flags, stream, await self._reader.readexactly(int.from_bytes(head[:3])))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def read_until(self, kind: int, within: float = 5.0) -> Frame | None:
        """The next frame of that kind; None when the server closes first. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while (frame := await self.read()) is not None and frame.kind != kind:
                pass
        return frame

    def close(self) -> None:
        self._writer.close()


async def connect(address: str, window: int | None = None, hello: bool = True) -> Connection:
    """`hello`: so that the server counts it as a client; `window`: bytes of each answer that it will take."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = Connection(reader, writer)
    if hello:
        writer.write(PREFACE)
        connection.send(SETTINGS, b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window))
        connection.send(SETTINGS, flags=ACK)
    return connection


def _literals(fields: dict[str, str]) -> bytes:
    """HPACK without its compression; names and values are shorter than 127 bytes."""
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
