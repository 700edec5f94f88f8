"""Names of several machines: a DNS server on loopback whose answers a test changes."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class NameServer(socketserver.UDPServer):
    """DNS: answers every question for an IPv4 address with the same ones."""

    def __init__(self, addresses: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.addresses = addresses
        self.address = f"127.0.0.1:{self.server_address[1]}"


class Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        query, reply_to = self.request
        end = query.index(b"\0", 12) + 5  # the name, its type and its class
        (kind,) = struct.unpack(">H", query[end - 4 : end - 2])
        found = self.server.addresses if kind == 1 else []
        head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
        records = (struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(one) for one in found)
        reply_to.sendto(head + query[12:end] + b"".join(records), self.client_address)


@contextmanager
def name_server(addresses: list[str]) -> Iterator[NameServer]:
    with NameServer(addresses) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
