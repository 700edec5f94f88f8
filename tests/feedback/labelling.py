"""A labelling service for tests: `plaudit label` as a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60.0


class Service:
    """One process; begun again, it listens where it did."""

    def __init__(self, folder: Path, url: str, *settings: str) -> None:
        self._ready, self.log = folder / "ready.json", folder / "log"
        self._settings = folder / "label.yaml"
        self._settings.write_text(f"database: {url}\naddress: 127.0.0.1:0\nhttp_address: 127.0.0.1:0\n")
        self._more = list(settings)
        self.start()

    def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "plaudit.cli", "label", str(self._settings), f"ready_file={self._ready}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *self._more], stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE_S
        while not self._ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)
        told = json.loads(self._ready.read_text())
        self.address, self.http_address = told["address"], told["http_address"]
        self._more = [one for one in self._more if not one.startswith("address=")] + [f"address={self.address}"]

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def kill(self) -> None:
        """As a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As an operator does."""
        self.process.terminate()
        return self.process.wait(timeout=PATIENCE_S)


@contextmanager
def labelling(folder: Path, url: str, *settings: str) -> Iterator[Service]:
    """Ready when the block begins."""
    service = Service(folder, url, *settings)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.kill()
