"""Ray on machines: a head and those that join it, with a token, as on a cluster that others can reach."""

import sys
from pathlib import Path

from .machines import Machine

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
QUICK = {  # a node is thought dead after three seconds, not after thirty
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
}


def join(machine: Machine, head: Machine, cpus: int, log: Path) -> None:
    address = [f"--address={head.address}:6379"]
    _ray(machine, [*address, f"--num-cpus={cpus}"], log)


def lead(machine: Machine, log: Path, **env: str) -> None:
    _ray(machine, ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false"], log, **env)


def _ray(machine: Machine, arguments: list[str], log: Path, **env: str) -> None:
    command = [str(BIN / "ray"), "start", "--block", f"--node-ip-address={machine.address}", "--disable-usage-stats"]
    machine.start([*command, *arguments], log, {**QUICK, "PYTHONPATH": str(ROOT), **env})
