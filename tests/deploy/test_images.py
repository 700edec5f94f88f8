"""The images, built from the Dockerfiles as they stand, run as nobody in particular and asked for a score.

Needs root, buildah and mmdebstrap (Debian packages): what the Dockerfiles build on is put together here, of Debian's
own Python, under the name that they ask for. Takes minutes, and ten gigabytes for as long as it lasts.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit_client import RewardClient, ScoreItem, TextPair
from tests.reward.serving import DIGITS

from .rendering import DEPLOY, ROOT

SUITE = "bookworm"
FROM_HERE = ("/etc/pip.conf", "/etc/ssl/certs")  # where packages come from, and whom to believe
PACKAGE_INDEX = "https://pypi.org/simple"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("buildah", "mmdebstrap"))),
        reason="needs root, buildah and mmdebstrap",
    ),
]


class Buildah:
    """With a store of its own."""

    def __init__(self, folder: Path) -> None:
        self._store = ["--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]

    def command(self, *arguments: str) -> list[str]:
        return ["buildah", *self._store, *arguments]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Knows the image that the Dockerfiles begin with."""
    folder = tmp_path_factory.mktemp("images")
    tar = folder / "base.tar"
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", packages, SUITE, tar], check=True)
    run = Buildah(folder)
    container = run("from", "scratch")
    run("add", container, str(tar), "/")
    run("run", "--isolation", "chroot", container, "ln", "-s", "python3", "/usr/bin/python")
    tags = {re.search(r"^ARG PYTHON=(\S+)$", file.read_text(), re.M)[1] for file in (DEPLOY / "images").iterdir()}
    assert len(tags) == 1
    run("commit", "--rm", container, f"docker.io/library/python:{tags.pop()}")
    tar.unlink()
    yield run
    shutil.rmtree(folder)


def build(buildah: Buildah, name: str) -> str:
    """A container of it."""
    mounts = [f"--volume={path}:{path}:ro" for path in FROM_HERE if Path(path).exists()]
    how = ["--isolation", "chroot", "--pull-never", "--layers=false", f"--build-arg=TORCH_INDEX={PACKAGE_INDEX}"]
    buildah("bud", *how, *mounts, "-f", str(DEPLOY / "images" / f"{name}.Dockerfile"), "-t", name, ".")
    return buildah("from", "--pull-never", name)


def test_the_reward_servers_image_serves(buildah: Buildah) -> None:
    container = build(buildah, "reward-server")
    settings = f"models: [{{name: {DIGITS['name']}, rule: {{kind: {DIGITS['rule']['kind']}}}}}]\n"
    (ROOT / "build").mkdir(exist_ok=True)
    file = ROOT / "build" / "serve.yaml"
    file.write_text(settings)
    buildah("copy", container, str(file), "/etc/plaudit/serve.yaml")
    asked = ["address=127.0.0.1:50951", "http_address=127.0.0.1:50952"]
    run = ["run", "--isolation", "chroot", "--user", "10001:10001", container, "plaudit", "serve"]
    serving = subprocess.Popen(buildah.command(*run, "/etc/plaudit/serve.yaml", *asked))
    try:
        with RewardClient("127.0.0.1:50951") as client:
            client.wait_until_ready(120)
            [score] = client.score([ScoreItem(TextPair("a", "12 b"))])
            assert score.score > 0
    finally:
        inside = subprocess.run(
            ["pgrep", "-f", "plaudit serve /etc/plaudit/serve.yaml"], capture_output=True, text=True
        )
        for pid in map(int, inside.stdout.split()):
            os.kill(pid, 15)
        serving.wait(60)
    time.sleep(0.5)


def test_the_trainers_image_has_what_its_manifests_run(buildah: Buildah) -> None:
    container = build(buildah, "trainer")
    inside = ["run", "--isolation", "chroot", "--user", "10001:10001", container]
    assert "train" in buildah(*inside, "plaudit", "--help")
    assert "--address" in buildah(*inside, "ray", "start", "--help")
    assert "--until" in buildah(*inside, "python", "/opt/plaudit/examples/demo/run.py", "--help")
