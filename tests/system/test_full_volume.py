"""A run whose volume is full goes on, and has its checkpoint as soon as there is room."""

import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

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
    with FakeRewardServer(share_of_a) as server:
        long = {"steps": 100_000, "samples": {"every": 100_000, "best_of": 0}, "checkpoints": {"every": 8}}
        run = start(settings_file(tmp_path, server.address, http_address=at, **long))
        try:
            until(lambda: (tmp_path / "run/run.json").exists(), 60, "the run's folder")
            volume.mkdir()
            mount(volume, "size=64k")
            until(lambda: value(at, "failures_in_a_row") >= 2, 120, "two checkpoints that fail")
            assert run.poll() is None
            assert not list(volume.iterdir()), "what was half written takes no room"
            mount(volume, "remount,size=64m")
            until(lambda: [path for path in volume.glob("step-*") if (path / "state.json").exists()], 60, "one")
            until(lambda: value(at, "failures_in_a_row") == 0, 10, "the alert to clear")
        finally:
            run.terminate()
            _, errors = run.communicate(timeout=60)
            subprocess.run(["umount", volume], check=True)
    assert re.search(r"step-00008 could not be written .*No space left on device.* tried again", errors)


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


def value(address: str, name: str) -> float:
    page = httpx.get(f"http://{address}/metrics").text
    return float(re.findall(rf"^plaudit_checkpoint_{name} (\S+)$", page, re.M)[0])
