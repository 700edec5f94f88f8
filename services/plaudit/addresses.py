"""host:port, as settings write it."""

import ipaddress


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 50051) of "127.0.0.1:50051", ("::1", 0) of "[::1]:0"; raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{address}' is not of the form host:port, such as 127.0.0.1:50051")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """The reverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def require_loopback(
    key: str, address: str, *, unless: bool, because: str = "nobody is asked who they are", remedy: str = ""
) -> None:
    """Raises ValueError when other machines can reach `address`, unless the operator allowed it."""
    host, _ = split_address(address)
    if not unless and not _is_loopback(host):
        raise ValueError(
            f"{key} {address} can be reached from other machines and {because}: "
            f"bind to 127.0.0.1, {remedy}or set insecure_bind: true"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
