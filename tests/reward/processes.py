"""`plaudit serve` as a process of its own, and what it says of itself."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families


@dataclass
class Served:
    """A server that is ready."""

    process: "subprocess.Popen[str]"
    address: str
    http_address: str
    forms_address: str = ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the samples of that name which have those labels."""
        page = httpx.get(f"http://{self.http_address}/metrics").text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def write(folder: Path, **tree) -> Path:
    path = folder / "settings.yaml"
    ports = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    path.write_text(yaml.safe_dump({**ports, "ready_file": str(folder / "ready.json"), **tree}))
    return path


@contextmanager
def process(folder: Path, **tree) -> Iterator[Served]:
    """A server of its own, ready; its files, such as `stderr.txt`, lie in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    ready, log = folder / "ready.json", folder / "stderr.txt"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "plaudit.cli", "serve", str(write(folder, **tree))]
    with log.open("w") as stderr:  # a file: a pipe that nobody reads would stop a server with much to say
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        until = time.monotonic() + 120
        while not ready.exists() and server.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        assert ready.exists(), log.read_text()
        yield Served(server, **json.loads(ready.read_text()))
    finally:
        server.kill()
        server.communicate()
