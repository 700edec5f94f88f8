"""A real Prometheus and a real Alertmanager with the rules that ship, on this machine."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.deploy.monitoring import groups

PROGRAMS = ("prometheus", "prometheus-alertmanager")
QUICK = {  # seconds for minutes: what ships -> what a test has time for, scraping every second
    "0m": "0s",
    "1m": "1s",
    "2m": "2s",
    "5m": "3s",
    "10m": "4s",
    "15m": "25s",  # several workers must have time to start and be lost
    "30m": "8s",
    "1h": "30s",
    "6h": "60s",
}

DURATION = r"(?<=\[)\w+(?=\])|(?<=offset )\w+"
"""Of a range or an offset."""


def missing() -> list[str]:
    """Programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def with_quick_durations(name: str) -> list[dict[str, Any]]:
    """The groups of `alerts` or `recording`; of their rules, ranges, offsets and `for` alone are others than ship."""
    shortened = groups(name)
    for group in shortened:
        for rule in group["rules"]:
            rule["expr"] = re.sub(DURATION, lambda found: QUICK[found[0]], rule["expr"])
            if "for" in rule:
                rule["for"] = QUICK[rule["for"]]
    return shortened


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Watch:
    """Prometheus and Alertmanager, by their HTTP interfaces."""

    prometheus: str
    alertmanager: str

    def query(self, expression: str) -> list[float]:
        """The values at this moment."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return [float(series["value"][1]) for series in answer["data"]["result"]]

    def firing(self) -> dict[str, dict[str, str]]:
        """The alerts that have reached Alertmanager: annotations by name."""
        alerts = httpx.get(f"{self.alertmanager}/api/v2/alerts", params={"active": "true"}).json()
        return {alert["labels"]["alertname"]: alert["annotations"] for alert in alerts}


@contextmanager
def watching(folder: Path, targets: Mapping[str, str]) -> Iterator[Watch]:
    """`targets`: addresses by job. Each is one pod of the namespace `plaudit`."""
    prometheus, alertmanager = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    _configure(folder, targets, alertmanager)
    commands = [
        ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yaml", f"--storage.path={folder}/alerts",
         f"--web.listen-address={alertmanager}", "--cluster.listen-address="],
        ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/series",
         f"--web.listen-address={prometheus}"],
    ]  # fmt: skip
    running = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.log").open("w") as log:
                running.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        watch = Watch(f"http://{prometheus}", f"http://{alertmanager}")
        for address in (watch.prometheus, watch.alertmanager):
            until(lambda address=address: _answers(address), 20, f"{address} to answer")
        yield watch
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=20)


def _configure(folder: Path, targets: Mapping[str, str], alertmanager: str) -> None:
    folder.mkdir()
    for name in ("recording", "alerts"):
        (folder / f"rules-{name}.yaml").write_text(yaml.safe_dump({"groups": with_quick_durations(name)}))
    scraped = [
        {
            "job_name": job,
            "static_configs": [{"targets": [address], "labels": {"namespace": "plaudit", "pod": f"{job}-0"}}],
        }
        for job, address in targets.items()
    ]
    prometheus = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules-*.yaml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": scraped,
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(prometheus))
    nobody = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(nobody))


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def until(true: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)
