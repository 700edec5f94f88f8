"""Machines on one machine: network namespaces on a bridge, each with its own /dev/shm and its own Ray folder.

    with network("plaudit", folder) as net:
        head = net.machine("head", 10)          # 10.77.0.10
        head.start(["ray", "start", "--head", ...])
        net.cut(head); net.mend(head)           # its link goes down, and up again

Needs root, iproute2 and util-linux. Whatever was started is killed at the end.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SUBNET = "10.77.0"
TOOLS = ("ip", "nsenter", "unshare")


def why_not() -> str | None:
    """What is missing for it here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"missing: {', '.join(missing)} (Debian packages iproute2, util-linux)"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True)
    return f"network namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


def children(pid: int) -> list[int]:
    """Of a process; none where it has ended."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


class Machine:
    """One namespace, held open by a process that sleeps."""

    def __init__(self, network: str, name: str, number: int, folder: Path) -> None:
        self.name, self.address, self.folder = f"{network}-{name}", f"{SUBNET}.{number}", folder
        self.link, self.inner = f"v{number}", "eth0"
        self._holder: subprocess.Popen[bytes] | None = None
        self.boot()

    def boot(self) -> None:
        """With an empty Ray folder, as a new pod has."""
        ray = Path(tempfile.mkdtemp(dir=self.folder))
        _ip("netns", "add", self.name)
        _ip("link", "add", self.link, "type", "veth", "peer", "name", self.inner, "netns", self.name)
        _ip("link", "set", self.link, "master", "plaudit-br", "up")
        for command in (
            ["addr", "add", f"{self.address}/24", "dev", self.inner],
            ["link", "set", self.inner, "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", f"{SUBNET}.1"],  # how Ray finds out its own address
        ):
            _ip("-n", self.name, *command)
        Path("/tmp/ray").mkdir(exist_ok=True)
        mounts = f"mount -t tmpfs tmpfs /dev/shm && mount --bind {ray} /tmp/ray && echo up && exec sleep infinity"
        command = ["ip", "netns", "exec", self.name, "unshare", "--mount", "sh", "-c", mounts]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"

    def start(
        self, command: Sequence[str], log: Path | None = None, env: Mapping[str, str] = {}
    ) -> "subprocess.Popen[str]":
        """In the background; what it prints goes to `log`, or can be read."""
        assert self._holder is not None
        inside = ["nsenter", f"--target={self._holder.pid}", "--mount", "--net", *command]
        out = subprocess.PIPE if log is None else log.open("a")
        errors = None if log is None else subprocess.STDOUT
        return subprocess.Popen(inside, stdout=out, stderr=errors, text=True, env={**os.environ, **env})

    def knows(self, names: Mapping[str, "Machine"]) -> None:
        """Finds the others by these names."""
        hosts = self.folder / f"{self.name}.hosts"
        lines = ["127.0.0.1 localhost", *(f"{machine.address} {name}" for name, machine in names.items())]
        hosts.write_text("\n".join(lines) + "\n")
        assert self.start(["mount", "--bind", str(hosts), "/etc/hosts"]).wait() == 0

    def die(self) -> None:
        """Every process at once, and the namespace with them."""
        deadline = time.monotonic() + 20
        while pids := _ip("netns", "pids", self.name, check=False).split():
            assert time.monotonic() < deadline
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
        _ip("netns", "del", self.name, check=False)
        _ip("link", "del", self.link, check=False)


class Network:
    """Machines that see each other."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        self.machines: list[Machine] = []

    def machine(self, name: str, number: int) -> Machine:
        """At 10.77.0.`number`."""
        self.machines.append(Machine(self._name, name, number, self._folder))
        return self.machines[-1]

    def cut(self, machine: Machine) -> None:
        """Nothing reaches it, and nothing comes from it."""
        _ip("link", "set", machine.link, "down")

    def mend(self, machine: Machine) -> None:
        """As before."""
        _ip("link", "set", machine.link, "up")


@contextmanager
def network(name: str, folder: Path) -> Iterator[Network]:
    """A bridge, 10.77.0.1; at the end all machines die."""
    _ip("link", "add", "plaudit-br", "type", "bridge")
    made = Network(name, folder)
    try:
        _ip("addr", "add", f"{SUBNET}.1/24", "dev", "plaudit-br")
        _ip("link", "set", "plaudit-br", "up")
        yield made
    finally:
        for machine in made.machines:
            machine.die()
        _ip("link", "del", "plaudit-br", check=False)


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
