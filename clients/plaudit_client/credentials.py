"""What a client shows, and what it wants to see: an API key, and certificates for TLS.

RewardClient("rewards.example:50051", api_key=key, tls=Tls(ca="ca.crt", certificate="tls.crt", key="tls.key"))
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc

Option = tuple[str, str | int]
File = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files, read when the client is made; and again, when nobody answers and they have changed since."""

    ca: File | None = None
    """The authorities that the server's certificate may be of; None: those that gRPC brings."""
    certificate: File | None = None
    """This client's own, and the ones between it and its authority, where the server asks for one (mTLS)."""
    key: File | None = None
    """The certificate's."""
    server_name: str | None = None
    """What the server's certificate is for, where that is another name than the address has."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and its key go together: give both or neither")

    def contents(self) -> "Contents":
        """What the files hold now. Raises OSError where one cannot be read."""
        return Contents(_bytes(self.ca), _bytes(self.key), _bytes(self.certificate))

    def options(self) -> Sequence[Option]:
        """Of the channel."""
        return [] if self.server_name is None else [("grpc.ssl_target_name_override", self.server_name)]


class Contents(NamedTuple):
    """Of the files, as gRPC takes them."""

    ca: bytes | None
    key: bytes | None
    certificate: bytes | None

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)

    def __repr__(self) -> str:
        return "Contents(...)"


def key_metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """What each call carries. Raises ValueError, without the key, where it is none."""
    if api_key is None:
        return ()
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError("the API key is empty or has characters that no key has: is a line end or a file name in it?")
    return (("authorization", f"Bearer {api_key}"),)


def _bytes(path: File | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
