"""The component `mtls`: its server with its arguments as they stand, probed and asked as its manifests say.

The ports are free ones here; `tests/system/test_mtls.py` has those of the manifest.
"""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from plaudit.reward_server.asking import open_client
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings
from plaudit_client import RetryPolicy, RewardClient, ScoreItem, TextPair, Tls
from plaudit_client.errors import ServerUnavailable
from tests.reward.authorities import Authority
from tests.reward.processes import Served, process
from tests.reward.serving import DIGITS

from . import rendering
from .rendering import named

ITEM = ScoreItem(TextPair("", "1 2"))
TLS = "/etc/plaudit-tls"


def pod(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = named(rendering.combination(("mtls",)), kind, name)["spec"]["template"]["spec"]
    return found


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, Path]:
    """As cert-manager writes them, by their names."""
    authority = Authority(tmp_path / "authority")
    made = {}
    for name, host in (("reward-server-tls", "reward-server"), ("reward-client-tls", "trainer")):
        made[name] = tmp_path / name
        made[name].mkdir()
        authority.sign(name, host=host, at=(made[name] / "tls.crt", made[name] / "tls.key"))
        (made[name] / "ca.crt").write_bytes(authority.ca.read_bytes())
    return made


def flags(kind: str, name: str, secrets: dict[str, Path]) -> dict[str, Any]:
    """Its arguments as settings, with its Secret's files where they lie here. Of two alike the last counts."""
    spec = pod(kind, name)
    container = next(one for one in spec["containers"] if one["name"] == name)
    [mount] = [one for one in container["volumeMounts"] if one["mountPath"] == TLS]
    [volume] = [one for one in spec["volumes"] if one["name"] == mount["name"]]
    folder = str(secrets[volume["secret"]["secretName"]])
    given = dict(one.split("=", 1) for one in container["args"] if "=" in one)
    return {key: value.replace(TLS, folder) for key, value in given.items()}


def test_its_server_is_probed_in_the_clear_and_asked_with_a_certificate(tmp_path: Path, secrets: dict[str, Path]):
    given = flags("Deployment", "reward-server", secrets)
    assert given.pop("insecure_bind") == "false"
    ports = {given.pop("address"): 50051, given.pop("http_address"): 9090}
    assert list(ports) == [f"0.0.0.0:{port}" for port in ports.values()]
    tree: dict[str, Any] = {"models": [DIGITS], "address": "0.0.0.0:0", "http_address": "0.0.0.0:0"}
    for key, value in given.items():
        *rooms, last = key.split(".")
        room = tree
        for one in rooms:
            room = room.setdefault(one, {})
        room[last] = yaml.safe_load(value)
    tree["drain_wait"] = 0
    with process(tmp_path / "server", **tree) as server:
        grpc, http = (address.rpartition(":")[2] for address in (server.address, server.http_address))
        container = pod("Deployment", "reward-server")["containers"][0]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[kind].keys().isdisjoint({"grpc", "exec"})
            assert _passes(container[kind], http), kind
        assert _as_the_trainer(secrets, grpc) == 0.4
        for tls in (None, Tls(ca=secrets["reward-client-tls"] / "ca.crt", server_name="reward-server")):
            stranger = RewardClient(f"127.0.0.1:{grpc}", tls=tls, retry=RetryPolicy(max_attempts=1))
            with stranger, pytest.raises(ServerUnavailable):
                stranger.score([ITEM])
        _drains(server, container["readinessProbe"], http)


def _passes(probe: dict[str, Any], port: str) -> bool:
    """As a kubelet does: any answer from 200 up to 399."""
    assert probe["httpGet"]["port"] == "http"
    try:
        asked = httpx.get(f"http://127.0.0.1:{port}{probe['httpGet']['path']}", timeout=probe.get("timeoutSeconds", 1))
    except httpx.TransportError:
        return False
    return 200 <= asked.status_code < 400


def _as_the_trainer(secrets: dict[str, Path], port: str) -> float:
    given = flags("Job", "trainer", secrets)
    assert given["reward.address"] == "reward-server:50051"
    asked = {key: value for key, value in given.items() if key.startswith("reward.")}
    asked |= {"reward.address": f"127.0.0.1:{port}", "reward.tls.server_name": "reward-server"}  # its name there
    file = rendering.DEPLOY / "overlays/cluster/train.yaml"
    read = load(TrainSettings, file, [f"{key}={value}" for key, value in asked.items()])
    with open_client(read.reward) as client:
        client.wait_until_ready(10)
        (found,) = client.score([ITEM])
    return found.value


def _drains(server: Served, probe: dict[str, Any], port: str) -> None:
    server.process.terminate()
    assert server.process.wait(timeout=20) == 0
    assert not _passes(probe, port)


def test_without_it_nothing_of_it_is_there():
    rendered = rendering.combination(())
    assert TLS not in str(rendered)
    assert TLS in str(rendering.combination(("mtls",)))
