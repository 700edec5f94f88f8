"""A run whose volume is full goes on, and has its checkpoint as soon as there is room."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from plaudit_client import ScoreItem
from plaudit_client.fake import FakeRewardServer
from tests.trainer.programs import settings_file, share_of_a, start

from .watching import free_port, until

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(280),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root"),
]


def test_a_run_without_room_for_a_checkpoint_has_one_when_there_is(tmp_path: Path) -> None:
    volume, at = tmp_path / "run/checkpoints", f"127.0.0.1:{free_port()}"
    with FakeRewardServer(slowly) as server, volume_of_its_own(volume) as resize:
        long = {"steps": 100_000, "samples": {"every": 100_000, "best_of": 0}, "checkpoints": {"every": 8}}
        run = start(settings_file(tmp_path, server.address, http_address=at, **long))
        try:
            until(lambda: (tmp_path / "run/run.json").exists(), 60, "the run's folder")
            resize("64k")
            until(lambda: value(at, "failures_in_a_row") >= 2, 120, "two checkpoints that fail")
            assert run.poll() is None
            until(lambda: not list(volume.iterdir()), 20, "what was half written to be gone")
            resize("64m")
            until(lambda: [path for path in volume.glob("step-*") if (path / "state.json").exists()], 60, "one")
            until(lambda: value(at, "failures_in_a_row") == 0, 10, "the alert to clear")
        finally:
            run.terminate()
            _, errors = run.communicate(timeout=60)
    assert re.search(r"step-00008 could not be written .*No space left on device.* tried again", errors)


def slowly(item: ScoreItem) -> float:
    """So that a step takes a second, and room comes before ten checkpoints have failed."""
    time.sleep(0.1)
    return share_of_a(item)


@contextmanager
def volume_of_its_own(folder: Path) -> Iterator[Callable[[str], None]]:
    """Called, it gives the folder a file system of this size, and later another size."""

    def resize(size: str) -> None:
        again = "remount," if folder.is_mount() else ""
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"{again}size={size}", "tmpfs", folder], check=True)

    try:
        yield resize
    finally:
        if folder.is_mount():
            subprocess.run(["umount", "--lazy", folder], check=True)


def value(address: str, name: str) -> float:
    page = httpx.get(f"http://{address}/metrics").text
    return float(re.findall(rf"^plaudit_checkpoint_{name} (\S+)$", page, re.M)[0])
