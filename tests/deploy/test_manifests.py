"""Manifests and code agree: names, ports, probes, flags, deadlines, and what restricted pod security demands."""

import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
import ray
import yaml
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1.health_pb2_grpc import HealthStub
from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT

from plaudit.errors import ConfigurationError, WouldEndAgain
from plaudit.reward.server import LIVENESS, READINESS, RewardServer
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings
from tests.reward.serving import DIGITS, settings

from . import rendering
from .containers import container_of, flags_of, settings_of
from .rendering import Pods, Resource, named, of_kind, overlay, pods, selects

VERSION = tomllib.loads((rendering.ROOT / "pyproject.toml").read_text())["project"]["version"]
OURS = ("plaudit-reward-server", "plaudit-trainer", "plaudit-labelling")
IMAGES = sorted(path.stem for path in (rendering.DEPLOY / "images").iterdir())
MADE_ELSEWHERE = {
    "rollouts": "by KubeRay, with the cluster",
    "redis": "by hand, as deploy/README.md says",
    "postgresql": "by hand, as deploy/README.md says",
}

Everything = list[tuple[str, tuple[Resource, ...]]]


@pytest.fixture(scope="module")
def everything() -> Everything:
    return list(rendering.every())


def _pods(everything: Everything) -> Iterator[tuple[str, Pods]]:
    seen = set()
    for where, resources in everything:
        for one in pods(resources):
            if (key := str(one)) not in seen:
                seen.add(key)
                yield f"{where}: {one.maker}", one


# -- who is meant ----------------------------------------------------------------------------------------------------


def test_every_selector_finds_pods(everything: Everything) -> None:
    for where, resources in everything:
        there = pods(resources)
        for one in resources:
            spec = one.get("spec", {})
            match one["kind"]:
                case "Deployment" | "StatefulSet":
                    found = [p for p in there if p.maker == f"{one['kind']}/{one['metadata']['name']}"]
                    assert all(selects(spec["selector"], p.labels) for p in found)
                case "Service":
                    found = [p for p in there if selects({"matchLabels": spec["selector"]}, p.labels)]
                case "PodDisruptionBudget":
                    found = [p for p in there if selects(spec["selector"], p.labels)]
                case _:
                    continue
            assert len(found) == 1, (where, one["kind"], one["metadata"]["name"])


def test_services_lead_to_ports_that_are_open(everything: Everything) -> None:
    for where, resources in everything:
        for service in of_kind(resources, "Service"):
            selector = {"matchLabels": service["spec"]["selector"]}
            [behind] = [one for one in pods(resources) if selects(selector, one.labels)]
            for port in service["spec"]["ports"]:
                assert behind.ports[port["targetPort"]] == port["port"], (where, service["metadata"]["name"])


def test_whoever_is_addressed_by_a_name_has_it() -> None:
    resources = overlay("local")
    job = container_of("local", "Job", "trainer")
    addressed = flags_of(job)["reward.address"]
    service = named(resources, "Service", addressed.partition(":")[0])
    assert int(addressed.partition(":")[2]) in {port["port"] for port in service["spec"]["ports"]}
    environment = {one["name"]: one for one in job["env"]}
    [cluster] = of_kind(resources, "RayCluster")
    assert environment["RAY_HEAD"]["value"] == f"{cluster['metadata']['name']}-head-svc:6379"
    assert environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == cluster["metadata"]["name"]
    assert environment["RAY_AUTH_MODE"]["value"] == cluster["spec"]["authOptions"]["mode"]


# -- what runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", rendering.OVERLAYS)
def test_the_programs_take_their_settings_and_listen_where_the_manifests_say(where: str, tmp_path: Path) -> None:
    for kind, name, file in (("Deployment", "reward-server", "serve.yaml"), ("Job", "trainer", "train.yaml")):
        read = settings_of(where, kind, name, file, tmp_path)
        ports = {one["name"]: one["containerPort"] for one in container_of(where, kind, name)["ports"]}
        assert read.address == f"0.0.0.0:{ports['grpc']}"
        assert read.http_address == f"0.0.0.0:{ports['http']}"


def test_with_gpus_the_trainer_still_takes_its_flags(tmp_path: Path) -> None:
    job = named(rendering.combination(("gpu",)), "Job", "trainer")["spec"]["template"]["spec"]["containers"][0]
    (tmp_path / "train.yaml").write_text((rendering.DEPLOY / "overlays/cluster/train.yaml").read_text())
    flags = [f"{key}={value}" for key, value in flags_of(job).items()]
    assert load(TrainSettings, tmp_path / "train.yaml", flags).rollout.gpus_per_worker == 1


def test_the_local_run_is_the_demos() -> None:
    here = yaml.safe_load((rendering.DEPLOY / "overlays/local/train.yaml").read_text())
    demo = yaml.safe_load((rendering.ROOT / "examples/demo/settings/train.yaml").read_text())
    places = ("folder", "policy", "prompts", "reward", "http_address")
    assert {k: v for k, v in here.items() if k not in places} == {k: v for k, v in demo.items() if k not in places}


def test_the_demos_models_come_from_its_own_program(tmp_path: Path) -> None:
    demo = container_of("local", "Job", "demo")
    program = rendering.ROOT / demo["command"][1].removeprefix("/opt/plaudit/")
    asked = [sys.executable, program, "--folder", tmp_path / "demo", "--until", "nonsense"]
    done = subprocess.run(asked, capture_output=True, text=True)
    *_, option, phase = demo["args"]
    assert option == "--until"
    assert phase in done.stderr.partition("only ")[2].split(", ")


def test_images_are_of_this_version_and_ray_of_the_pinned_one(everything: Everything) -> None:
    for where, one in _pods(everything):
        for container in one.containers:
            name, _, tag = container["image"].rpartition("/")[2].partition(":")
            assert tag not in ("", "latest"), where
            if "plaudit" in name:
                assert tag.removesuffix("-cuda") == VERSION, where
    for _, cluster in rendering.distinct("RayCluster"):
        assert cluster["spec"]["rayVersion"] == ray.__version__


@pytest.mark.parametrize("image", IMAGES)
def test_dockerfiles_are_clean_and_run_as_who_the_manifests_say(image: str) -> None:
    file = rendering.DEPLOY / "images" / f"{image}.Dockerfile"
    linted = subprocess.run([Path(sys.executable).parent / "hadolint", file], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout
    lines = file.read_text().splitlines()
    security = named(overlay("local"), "Deployment", "reward-server")["spec"]["template"]["spec"]["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}" in lines
    assert f" -t plaudit-{image}:{VERSION} ." in lines[0]
    assert f"plaudit-{image}" in OURS


# -- how they live and die -------------------------------------------------------------------------------------------


def test_probes_ask_at_open_ports(everything: Everything) -> None:
    for where, one in _pods(everything):
        for container in one.containers:
            for name, probe in container.items():
                if name.endswith("Probe") and "exec" in probe:
                    assert re.findall(r"--port=(\d+)", str(probe["exec"]["command"])) == [*map(str, one.ports.values())]
                elif name.endswith("Probe"):
                    asked = next(iter(probe[kind] for kind in ("grpc", "httpGet", "tcpSocket") if kind in probe))
                    assert asked["port"] in (*one.ports, *one.ports.values()), (where, name)


def test_every_server_is_probed(everything: Everything) -> None:
    for where, one in _pods(everything):
        for container in one.spec["containers"]:
            if container.get("ports"):
                assert "livenessProbe" in container, where


def test_rays_probes_ask_its_agent() -> None:
    """Those of the operator would be added otherwise; `test_images.py` asks a real one."""
    [cluster] = of_kind(overlay("cluster"), "RayCluster")
    for container in (one for made in pods([cluster]) for one in made.spec["containers"]):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["agent"] == DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
        for kind in ("readinessProbe", "livenessProbe"):
            assert container[kind]["httpGet"] == {"path": "/api/healthz", "port": "agent"}


async def test_the_health_names_are_those_that_the_server_registers() -> None:
    """Asked as a kubelet does, before its models are there and afterwards."""
    container = container_of("cluster", "Deployment", "reward-server")
    alive = container["livenessProbe"]["grpc"]["service"]
    ready = container["readinessProbe"]["grpc"]["service"]
    assert (alive, ready) == (LIVENESS, container["startupProbe"]["grpc"]["service"])
    assert ready in READINESS
    async with RewardServer(settings(DIGITS)) as server, grpc.aio.insecure_channel(server.address) as channel:
        health, states = HealthStub(channel), []
        for _ in ("loading", "loaded"):
            asked = [await health.Check(pb.HealthCheckRequest(service=name)) for name in (alive, ready)]
            states.append([answer.status == pb.HealthCheckResponse.SERVING for answer in asked])
            await server.load()
    assert states == [[True, False], [True, True]]


@pytest.mark.parametrize("where", rendering.OVERLAYS)
def test_there_is_time_to_drain(where: str, tmp_path: Path) -> None:
    template = named(overlay(where), "Deployment", "reward-server")["spec"]["template"]["spec"]
    read = settings_of(where, "Deployment", "reward-server", "serve.yaml", tmp_path)
    before = template["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + read.drain_wait + read.drain_timeout + 5 <= template["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("where", rendering.OVERLAYS)
def test_rays_object_stores_fit_into_shared_memory(where: str) -> None:
    """Where one does not, Ray takes the disk, and says so in a log of its own."""
    there = {one.maker: one for one in pods(overlay(where))}
    [cluster] = of_kind(overlay(where), "RayCluster")
    [group] = cluster["spec"]["workerGroupSpecs"]
    [container] = there["Job/trainer"].containers[-1:]
    given = {one["name"]: one.get("value") for one in container["env"]}
    for maker, size in (
        ("Job/trainer", given["OBJECT_STORE_BYTES"]),
        ("RayCluster/rollouts/worker", group["rayStartParams"]["object-store-memory"]),
    ):
        [memory] = [one["emptyDir"] for one in there[maker].spec["volumes"] if one["name"] == "shared-memory"]
        assert memory["medium"] == "Memory"
        assert int(size) < int(memory["sizeLimit"].removesuffix("Gi")) * 2**30


@pytest.mark.parametrize("where", rendering.OVERLAYS)
def test_there_is_time_to_write_a_checkpoint(where: str, tmp_path: Path) -> None:
    template = named(overlay(where), "Job", "trainer")["spec"]["template"]["spec"]
    read = settings_of(where, "Job", "trainer", "train.yaml", tmp_path)
    assert read.checkpoints.grace_s + 20 <= template["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("where", rendering.OVERLAYS)
def test_the_trainer_waits_as_long_as_a_reward_server_may_load(where: str, tmp_path: Path) -> None:
    probe = container_of(where, "Deployment", "reward-server")["startupProbe"]
    read = settings_of(where, "Job", "trainer", "train.yaml", tmp_path)
    assert probe["periodSeconds"] * probe["failureThreshold"] <= read.reward.startup_timeout_s


@pytest.mark.parametrize("where", rendering.OVERLAYS)
def test_a_disruption_is_no_failure_and_wrong_settings_fail_at_once(where: str) -> None:
    spec = named(overlay(where), "Job", "trainer")["spec"]
    fail, ignore = spec["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == (
        "FailJob",
        [ConfigurationError.exit_code, WouldEndAgain.exit_code],
    )
    assert fail["onExitCodes"]["containerName"] in {one["name"] for one in spec["template"]["spec"]["containers"]}
    assert (ignore["action"], ignore["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # or an API server refuses the policy
    assert spec["podReplacementPolicy"] == "Failed"


def test_nothing_is_scaled_by_two(everything: Everything) -> None:
    for where, resources in everything:
        scaled = [one["spec"]["scaleTargetRef"]["name"] for one in of_kind(resources, "ScaledObject")]
        scaled += [one["spec"]["scaleTargetRef"]["name"] for one in of_kind(resources, "HorizontalPodAutoscaler")]
        assert len(scaled) == len(set(scaled)), where
        for name in scaled:
            assert "replicas" not in named(resources, "Deployment", name)["spec"], where


# -- what they may ---------------------------------------------------------------------------------------------------


def test_pods_are_restricted(everything: Everything) -> None:
    """All that the pod security standard `restricted` asks for, and a root file system that nobody writes to."""
    for where, one in _pods(everything):
        security = one.spec["securityContext"]
        assert security["runAsNonRoot"] is True, where
        assert security["runAsUser"] > 0, where
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & one.spec.keys(), where
        for volume in one.spec.get("volumes", []):
            allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret", "projected", "downwardAPI"}
            assert volume.keys() - {"name"} <= allowed, where
        for container in one.containers:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, where
            assert security["capabilities"] == {"drop": ["ALL"]}, where
            assert security["readOnlyRootFilesystem"] is True, where
            assert "privileged" not in security, where
            assert not any("hostPort" in port for port in container.get("ports", [])), where


def test_the_autoscalers_container_is_restricted_too(everything: Everything) -> None:
    for where, resources in everything:
        for cluster in of_kind(resources, "RayCluster"):
            head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
            assert cluster["spec"]["autoscalerOptions"]["securityContext"] == head["securityContext"], where


def test_the_namespace_enforces_it() -> None:
    label = "pod-security.kubernetes.io/enforce"
    assert named(overlay("cluster"), "Namespace", "plaudit")["metadata"]["labels"][label] == "restricted"


def test_whoever_computes_can_write_to_tmp(everything: Everything) -> None:
    for where, one in _pods(everything):
        for container in one.spec["containers"]:
            if any(image in container["image"] for image in OURS):
                mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
                assert not mounts["/tmp"].get("readOnly"), where


def test_what_is_mounted_or_named_is_there(everything: Everything) -> None:
    for where, resources in everything:
        there = {(one["kind"], one["metadata"]["name"]) for one in resources}
        files = "base" not in where  # the overlays', the base has none
        for one in pods(resources):
            assert ("ServiceAccount", one.spec["serviceAccountName"]) in there, where
            claimed = {template["metadata"]["name"] for kind in of_kind(resources, "StatefulSet")
                       for template in kind["spec"]["volumeClaimTemplates"]}  # fmt: skip
            volumes = {volume["name"]: volume for volume in one.spec.get("volumes", [])}
            for container in one.containers:
                for mount in container.get("volumeMounts", []):
                    assert mount["name"] in volumes.keys() | claimed, (where, mount)
            for volume in volumes.values():
                if "persistentVolumeClaim" in volume:
                    assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, where
                if "configMap" in volume and files:
                    assert ("ConfigMap", volume["configMap"]["name"]) in there, where
            for variable in itertools.chain(*(container.get("env", []) for container in one.containers)):
                if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert secret["name"] in MADE_ELSEWHERE, where
