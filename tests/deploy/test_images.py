"""The images, built from the Dockerfiles as they stand, run as Kubernetes runs them: as nobody in particular, as the
first process of a PID namespace, with a root file system that nobody can write to and what the manifests mount.

Needs root, buildah and mmdebstrap (Debian packages): what the Dockerfiles build on is put together here, of Debian's
own Python, under the name that they ask for. Takes minutes, and ten gigabytes for as long as it lasts.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from plaudit.errors import DependencyUnreachable
from plaudit_client import RewardClient, ScoreItem, TextPair
from tests.reward.serving import DIGITS
from tests.system.machines import children
from tests.system.watching import until

from .containers import container_of
from .rendering import DEPLOY, ROOT, named, of_kind, overlay

SUITE = "bookworm"
FROM_HERE = ("/etc/pip.conf", "/etc/ssl/certs")  # where packages come from, and whom to believe
PACKAGE_INDEX = "https://pypi.org/simple"
USER = "10001:10001"
CONTAINER = """
mkdir -p $0/proc $0/dev $0/tmp $0/etc {places}
touch $0/etc/hosts
mount --bind $0 $0
mount -o remount,bind,ro $0
mount --rbind /dev $0/dev
mount -t proc proc $0/proc
mount -t tmpfs tmpfs $0/dev/shm
mount -t tmpfs tmpfs $0/tmp
mount --bind /etc/hosts $0/etc/hosts
{mounts}
exec chroot --userspec={user} $0 "$@"
"""
"""What a kubelet and its runtime do, as far as it matters here."""
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

    def __call__(self, *arguments: str) -> str:
        command = ["buildah", *self._store, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()


class Image:
    """One that is built."""

    def __init__(self, buildah: Buildah, name: str) -> None:
        mounts = [f"--volume={path}:{path}:ro" for path in FROM_HERE if Path(path).exists()]
        how = ["--isolation", "chroot", "--pull-never", "--layers=false", f"--build-arg=TORCH_INDEX={PACKAGE_INDEX}"]
        buildah("bud", *how, *mounts, "-f", str(DEPLOY / "images" / f"{name}.Dockerfile"), "-t", name, ".")
        self._config = json.loads(buildah("inspect", "--type", "image", name))["OCIv1"]["config"]
        self._root = buildah("mount", buildah("from", "--pull-never", name))
        assert self._config["User"] == USER

    def entered(self, arguments: Sequence[str]) -> list[str]:
        """A container's command with these arguments."""
        return [*self._config["Entrypoint"], *arguments]

    @contextmanager
    def running(
        self, command: Sequence[str], log: Path, volumes: Mapping[str, Path] = {}, env: Mapping[str, str] = {}
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """`volumes`: folders by where they are mounted. What it prints is in `log`, and shown if the test fails."""
        places = {f"$0{place}": folder for place, folder in volumes.items()}
        mounts = "\n".join(f"mount --bind {folder} {place}" for place, folder in places.items())
        script = "set -e" + CONTAINER.format(places=" ".join(places), mounts=mounts, user=USER)
        new = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, self._root]
        environment = dict(one.split("=", 1) for one in self._config["Env"])
        with log.open("w") as file:
            process = subprocess.Popen([*new, *command], env={**environment, **env}, stdout=file, stderr=file)
        try:
            yield process
        finally:
            for pid in children(process.pid):
                os.kill(pid, signal.SIGKILL)  # the first, and with it all of its namespace
            process.wait(20)
            print(log.read_text())

    def prints(self, command: Sequence[str], log: Path, volumes: Mapping[str, Path] = {}) -> str:
        """What a command that ends well prints."""
        with self.running(command, log, volumes) as process:
            assert process.wait(300) == 0
        return log.read_text()


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


def test_the_reward_servers_image_serves(buildah: Buildah, tmp_path: Path) -> None:
    image = Image(buildah, "reward-server")
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump({"models": [DIGITS]}))
    tmp_path.chmod(0o755)
    deployment = named(overlay("cluster"), "Deployment", "reward-server")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    quickly = ["address=127.0.0.1:50951", "http_address=127.0.0.1:50952", "drain_wait=0"]
    command = image.entered([*arguments, *quickly])
    with image.running(command, tmp_path / "log", {"/etc/plaudit": tmp_path}) as server:
        with RewardClient("127.0.0.1:50951") as client:
            client.wait_until_ready(120)
            [score] = client.score([ScoreItem(TextPair("a", "12 b"))])
            assert score.value > 0
        [first] = children(server.pid)
        os.kill(first, signal.SIGTERM)
        assert server.wait(60) == 0


def test_the_trainers_image_has_what_its_manifests_run(buildah: Buildah, tmp_path: Path) -> None:
    image, data = Image(buildah, "trainer"), tmp_path / "data"
    data.mkdir()
    os.chown(data, *map(int, USER.split(":")))  # fsGroup
    tmp_path.chmod(0o755)
    log = tmp_path / "log"
    assert "train" in image.prints(image.entered(["--help"]), log)
    assert "Usage" in image.prints(["hf", "download", "--help"], log)
    demo = named(overlay("local"), "Job", "demo")["spec"]["template"]["spec"]["containers"][0]
    image.prints([*demo["command"], *demo["args"][:-1], "world"], log, {"/data": data})
    assert (data / "demo/data/practice.jsonl").exists()
    check_ray(image, log)


def test_the_labelling_image_serves_the_page_and_knows_postgresql(buildah: Buildah, tmp_path: Path) -> None:
    image, log = Image(buildah, "labelling"), tmp_path / "log"
    (tmp_path / "label.yaml").write_text("database: sqlite:////tmp/judgements.db\n")
    tmp_path.chmod(0o755)
    arguments = container_of("cluster", "Deployment", "labelling")["args"]
    here = ["address=127.0.0.1:50953", "http_address=127.0.0.1:50954"]
    mounted = {"/etc/plaudit": tmp_path}
    with image.running(image.entered([*arguments, *here]), log, mounted) as page:
        until(lambda: answer(50954, "/health") == 200, 120, "the page")
        assert answer(50953, "/in") == 200
        assert answer(50953, "/static/page.js") == 200
        [first] = children(page.pid)
        os.kill(first, signal.SIGTERM)
        assert page.wait(60) == 0
    nobody = image.entered([*arguments, *here, "database=postgresql://plaudit@127.0.0.1:1/plaudit"])
    with image.running(nobody, log, mounted) as page:
        assert page.wait(60) == DependencyUnreachable.exit_code
    with image.running(["python", "-c", "import torch"], log) as light:
        assert light.wait(60) == 1


def check_ray(image: Image, log: Path) -> None:
    """As the operator starts it; asked at its probe."""
    [cluster] = of_kind(overlay("cluster"), "RayCluster")
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    flags = [
        "--head",
        "--block",
        "--num-cpus=0",
        "--dashboard-host=0.0.0.0",
        f"--metrics-export-port={ports['metrics']}",
    ]
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    with image.running(["ray", "start", *flags], log, env=env):
        probe = head["livenessProbe"]["httpGet"]
        until(lambda: answer(ports[probe["port"]], probe["path"]) == 200, 120, "Ray's agent")
        until(lambda: answer(ports["metrics"], "/metrics") == 200, 60, "Ray's metrics")
        until(lambda: answer(ports["dashboard"], "/api/cluster_status") == 401, 60, "somebody who asks for a token")


def answer(port: int, path: str) -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10).status_code
    except httpx.TransportError:
        return None
