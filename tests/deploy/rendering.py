"""What kustomize makes of `deploy/`, and how to find one's way in it."""

import copy
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPONENTS = sorted(path.name for path in (DEPLOY / "components").iterdir())
OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())
FEW = (0, 1, 2, len(COMPONENTS) - 1, len(COMPONENTS))
"""Of components, put together in every way: none, each alone, each pair, all but one, and all."""
COMBINATIONS = [chosen for count in FEW for chosen in itertools.combinations(COMPONENTS, count)]

Resource = dict[str, Any]


class Pods(NamedTuple):
    """Pods that a resource makes: labels with those that whoever makes them adds."""

    maker: str  # Deployment/reward-server
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for one in self.containers for port in one.get("ports", [])}


@functools.cache
def overlay(name: str) -> tuple[Resource, ...]:
    return tuple(render(DEPLOY / "overlays" / name))


@functools.cache
def combination(chosen: tuple[str, ...]) -> tuple[Resource, ...]:
    """The base with these components."""
    with tempfile.TemporaryDirectory() as folder:
        deploy = os.path.relpath(DEPLOY, Path(folder).resolve())  # kustomize takes no absolute paths
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "plaudit",
            "resources": [f"{deploy}/base"],
            "components": [f"{deploy}/components/{name}" for name in chosen],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return tuple(render(Path(folder)))


def render(folder: Path) -> list[Resource]:
    command = [str(Path(sys.executable).parent / "kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def every() -> Iterator[tuple[str, tuple[Resource, ...]]]:
    """All that can be rendered, by name."""
    for name in OVERLAYS:
        yield name, overlay(name)
    for chosen in COMBINATIONS:
        yield "+".join(("base", *chosen)), combination(chosen)


def distinct(kind: str | None = None) -> list[tuple[str, Resource]]:
    """Resources, each with the name of where it was first met."""
    found: dict[str, tuple[str, Resource]] = {}
    for name, resources in every():
        for one in resources:
            if kind in (None, one["kind"]):
                found.setdefault(json.dumps(one, sort_keys=True), (name, one))
    return list(found.values())


def named(resources: tuple[Resource, ...], kind: str, name: str) -> Resource:
    [found] = [one for one in resources if one["kind"] == kind and one["metadata"]["name"] == name]
    return copy.deepcopy(found)


def of_kind(resources: tuple[Resource, ...], kind: str) -> list[Resource]:
    return [one for one in resources if one["kind"] == kind]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector, as far as ours go."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    among = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in among)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in among
    )


def pods(resources: tuple[Resource, ...]) -> list[Pods]:
    found = []
    for one in resources:
        name = one["metadata"]["name"]
        match one["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                found.append(_pods(f"{one['kind']}/{name}", one["spec"]["template"], {}))
            case "RayCluster":
                groups = [("head", one["spec"]["headGroupSpec"])]
                groups += [("worker", group) for group in one["spec"]["workerGroupSpecs"]]
                for node, group in groups:
                    added = {"ray.io/cluster": name, "ray.io/node-type": node}  # by KubeRay
                    found.append(_pods(f"RayCluster/{name}/{node}", group["template"], added))
    return found


def _pods(maker: str, template: Mapping[str, Any], added: dict[str, str]) -> Pods:
    labels = template.get("metadata", {}).get("labels", {})
    return Pods(maker, {**labels, **added}, template["spec"])
