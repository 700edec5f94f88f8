"""Joining a Ray cluster, or starting one on this machine."""

import logging
import os
import socket
import time

import ray
from ray._private.services import canonicalize_bootstrap_address

from plaudit.addresses import split_address
from plaudit.errors import ConfigurationError, DependencyUnreachable, first_line

MOST_LOCAL_CPUS = 1024
"""What a local Ray hands out: more than there are, for ranks and workers take turns, and the pool may grow."""
_PROBE_EVERY_S = 0.5


class RayConnection:
    """What `start_ray` gave: `close` ends it, unless Ray was already there before."""

    def __init__(self, *, owned: bool) -> None:
        self._owned = owned

    def close(self) -> None:
        """Leaves the cluster, and ends it if it was started here."""
        if self._owned and ray.is_initialized():
            ray.shutdown()


def start_ray(address: str | None, num_cpus: int, *, timeout_s: float = 30.0) -> RayConnection:
    """Joins the cluster at `address` ("host:port", or "auto" for the one on this machine); None starts a local one.

    Args:
        num_cpus: what a local Ray may hand out, whatever the machine has; without meaning for a cluster.
        timeout_s: how long to try until the address accepts; Ray has another 40 s to answer there.

    Raises ConfigurationError for a wrong address, DependencyUnreachable where Ray doesn't answer or doesn't start.
    """
    if ray.is_initialized():
        return RayConnection(owned=False)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        _start_here(num_cpus)
        return RayConnection(owned=True)
    if address == "auto":
        address = _joined_by_this_machine()
    here = _wait_for(address, timeout_s)
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one attempt, of 40 s, where Ray makes 20
    try:
        # Its own guess at this machine's address may be the head's: workers elsewhere would answer to that one.
        ray.init(address, _node_ip_address=here, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise _unreachable(address, first_line(error)) from None
    return RayConnection(owned=True)


def _start_here(num_cpus: int) -> None:
    try:
        # "local" rather than None: None would join whatever RAY_ADDRESS names.
        ray.init(
            "local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
    except Exception as error:  # Ray raises no narrower type when one of its processes does not come up
        remedy = "try again; with memory, disk and processes to spare, Ray's session_latest/logs say why"
        raise DependencyUnreachable(f"Ray did not start on this machine ({first_line(error)}): {remedy}") from error


def _joined_by_this_machine() -> str:
    """Where the head of that cluster is."""
    try:
        return str(canonicalize_bootstrap_address("auto"))
    except ConnectionError:
        raise _unreachable("auto", "no Ray node runs on this machine") from None


def _wait_for(address: str, timeout_s: float) -> str:
    """Until the port accepts: Ray's own attempt takes long and prints much. This machine's address that reached it."""
    host, port = _head_of(address)
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            left = give_up - time.monotonic()
            with socket.create_connection((host, port), timeout=max(_PROBE_EVERY_S, left)) as reached:
                return str(reached.getsockname()[0])
        except OSError as error:
            if time.monotonic() > give_up:
                raise _unreachable(address, f"{error}, for {timeout_s:g} s") from None
        time.sleep(_PROBE_EVERY_S)


def _head_of(address: str) -> tuple[str, int]:
    try:
        if "/" not in address:  # ray://host:port would pass for a host, and is another protocol
            return split_address(address)
    except ValueError:
        pass
    raise ConfigurationError(f"Ray address '{address}': give host:port of the cluster's head, 'auto', or nothing")


def _unreachable(address: str, reason: str) -> DependencyUnreachable:
    return DependencyUnreachable(
        f"no Ray cluster at '{address}' ({reason}): start it (ray start --head), give the address of its head "
        "(port 6379 unless chosen otherwise), or leave ray_address out to use this machine"
    )
