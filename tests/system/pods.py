"""What a manifest's pods run, on a machine; asked at their probes as a kubelet does."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.containers import pod_of

from .machines import Machine
from .ray_nodes import BIN, QUICK


class Pod:
    """Runs what its container runs, with the files of its volumes in a folder, and what Secrets hold by their names."""

    def __init__(
        self,
        kind: str,
        name: str,
        machine: Machine,
        settings: Path,
        secrets: Mapping[str, str] = {},
        *,
        template: dict[str, Any] | None = None,  # else the overlay's, `cluster`
        mounted: Mapping[str, Path] = {},  # folders that lie elsewhere here
    ) -> None:
        self._template, self._mounted = template or pod_of("cluster", kind, name), mounted
        self._container, self._machine, self._settings = self._template["containers"][0], machine, settings
        self._secrets = secrets
        self.grace: float = self._template["terminationGracePeriodSeconds"]

    def start(self, log: Path, *overrides: str) -> "subprocess.Popen[str]":
        command = self._container.get("command", ["plaudit"])  # else the image's
        return self.execute([*command, *self._container["args"], *overrides], log)

    def execute(self, command: list[str], log: Path | None = None) -> "subprocess.Popen[str]":
        """In its container, as `kubectl exec` does too."""
        environment = self.environment
        placed = command
        for there, here in {**self._mounted, "/etc/plaudit/": f"{self._settings}/"}.items():
            placed = [one.replace(there, str(here)) for one in placed]
        for name, value in environment.items():  # as a kubelet does
            placed = [one.replace(f"$({name})", value) for one in placed]
        return self._machine.start(placed, log, environment)

    @property
    def environment(self) -> dict[str, str]:
        given = {one["name"]: one.get("value") or self._secret(one) for one in self._container.get("env", [])}
        path = f"{BIN}:{os.environ['PATH']}"
        names = {"GRPC_DNS_RESOLVER": "native"}  # of /etc/hosts: there is no name server here
        told = {name: value for name, value in given.items() if value is not None}
        return {**QUICK, **told, **names, "POD_IP": self._machine.address, "PATH": path}

    def _secret(self, variable: Mapping[str, Any]) -> str | None:
        return self._secrets.get(variable["valueFrom"].get("secretKeyRef", {}).get("name"))

    def passes(self, name: str) -> bool:
        """Its probe, once."""
        probe = self._container[name]
        seconds = probe.get("timeoutSeconds", 1)
        if "exec" in probe:
            return self.execute(probe["exec"]["command"]).wait(seconds) == 0
        ports = {one["name"]: one["containerPort"] for one in self._container["ports"]}
        at = f"http://{self._machine.address}:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
        try:
            return httpx.get(at, timeout=seconds).status_code == 200
        except httpx.TransportError:
            return False
