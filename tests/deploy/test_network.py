"""Who may talk to whom, at which port: the network policies, applied as Kubernetes does, against a table."""

from typing import Any, NamedTuple

import pytest

from . import rendering
from .rendering import Resource, of_kind, pods, selects

HERE = "plaudit"
RAYS_OWN = 33333
"""Any port: Ray's processes choose theirs."""
OUTSIDE = {  # name -> namespace, labels, ports by name
    "another that asks": (HERE, {"plaudit.io/asks-for-rewards": "true"}, {}),
    "another that keeps judgements": (HERE, {"plaudit.io/keeps-judgements": "true"}, {}),
    "a stranger": (HERE, {"app": "stranger"}, {"http": 8000}),
    "clean-up of Redis": (HERE, {"ray.io/cluster": "rollouts", "ray.io/node-type": "redis-cleanup"}, {}),
    "operator, by Helm": (
        "ray",
        {"app.kubernetes.io/name": "kuberay-operator", "app.kubernetes.io/component": "kuberay-operator"},
        {},
    ),
    "operator, by kustomize": (
        "ray",
        {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"},
        {},
    ),
    "Prometheus": ("monitoring", {"app.kubernetes.io/name": "prometheus"}, {}),
    "ingress controller": ("ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"}, {}),
    "collector": ("monitoring", {"app": "otel"}, {"otlp": 4318}),
    "names": ("kube-system", {"k8s-app": "kube-dns"}, {"dns": 53}),
    "names, OpenShift's": ("openshift-dns", {}, {"dns": 5353}),
    "names, on the node": ("", {}, {"dns": 53}),
    "stranger elsewhere": ("default", {"app.kubernetes.io/name": "trainer"}, {"http": 80}),
    "the world": ("", {}, {"https": 443, "API server": 6443, "smtp": 25}),
}
RAY = ("head", "worker", "clean-up of Redis", "trainer")
ALLOWED = {
    *(("trainer", "reward-server", "grpc"), ("another that asks", "reward-server", "grpc")),
    *((one, other, "any") for one in RAY for other in RAY if {one, other} != {"trainer"}),
    *((one, "redis", "redis") for one in ("head", "clean-up of Redis")),
    *((f"operator, by {how}", "head", "dashboard") for how in ("Helm", "kustomize")),
    *((who, one, "http") for who in ("Prometheus", "collector") for one in ("reward-server", "trainer", "labelling")),
    *((who, one, "metrics") for who in ("Prometheus", "collector") for one in ("head", "worker")),
    *((one, "collector", "otlp") for one in ("reward-server", *RAY)),
    *(("head", "the world", port) for port in ("https", "API server")),
    ("files", "the world", "https"),
    ("ingress controller", "labelling", "page"),
    *((one, "postgresql", "postgresql") for one in ("labelling", "another that keeps judgements")),
}


class Machine(NamedTuple):
    """A pod, as policies see it."""

    name: str
    namespace: str
    labels: dict[str, str]
    ports: dict[str, int]


@pytest.fixture(scope="module")
def resources() -> tuple[Resource, ...]:
    return rendering.combination(("files", "labelling", "network-policies", "postgresql", "redis"))


@pytest.fixture(scope="module")
def machines(resources: tuple[Resource, ...]) -> list[Machine]:
    return _machines(resources) + [Machine(name, *rest) for name, rest in OUTSIDE.items()]


def _machines(resources: tuple[Resource, ...]) -> list[Machine]:
    return [Machine(one.maker.rpartition("/")[2], HERE, one.labels, one.ports) for one in pods(resources)]


def test_whoever_is_not_in_the_table_is_not_let_through(
    resources: tuple[Resource, ...], machines: list[Machine]
) -> None:
    policies = [one["spec"] for one in of_kind(resources, "NetworkPolicy")]
    found = {
        (source.name, target.name, port)
        for source in machines
        for target in machines
        if HERE in (source.namespace, target.namespace)
        for port, number in _ports(source, target).items()
        if _through(policies, source, target, number)
    }
    dns = {
        (one.name, other.name, "dns")
        for one in machines
        for other in machines
        if one.namespace == HERE and other.name.startswith("names")
    }
    assert found == ALLOWED | dns


def test_reward_servers_reach_postgresql_where_they_ask_people_and_only_there() -> None:
    for chosen in ((), ("people",)):
        resources = rendering.combination(("network-policies", *chosen, "postgresql"))
        policies = [one["spec"] for one in of_kind(resources, "NetworkPolicy")]
        there = {one.name: one for one in _machines(resources)}
        found = _through(policies, there["reward-server"], there["postgresql"], 5432)
        assert found == bool(chosen)


def _ports(source: Machine, target: Machine) -> dict[str, int]:
    """To try."""
    every = {"any": RAYS_OWN}
    return every if source.name in RAY and target.name in RAY else target.ports | every


def _through(policies: list[Any], source: Machine, target: Machine, port: int) -> bool:
    leaves = source.namespace != HERE or _passes(policies, "Egress", source, target, target, port)
    enters = target.namespace != HERE or _passes(policies, "Ingress", target, source, target, port)
    return leaves and enters


def _passes(policies: list[Any], way: str, ours: Machine, other: Machine, target: Machine, port: int) -> bool:
    """What one of our pods may send, or be sent; everything where no policy is about it."""
    about = [one for one in policies if way in one["policyTypes"] and selects(one["podSelector"], ours.labels)]
    return not about or any(
        _is_peer(rule.get("to" if way == "Egress" else "from"), other) and _is_port(rule.get("ports"), target, port)
        for policy in about
        for rule in policy.get(way.lower(), [])
    )


def _is_peer(peers: list[Any] | None, other: Machine) -> bool:
    return peers is None or any(_fits(peer, other) for peer in peers)


def _fits(peer: dict[str, Any], other: Machine) -> bool:
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    namespace = {"kubernetes.io/metadata.name": other.namespace}
    somewhere = selects(peer["namespaceSelector"], namespace) if "namespaceSelector" in peer else None
    if somewhere is None:
        return other.namespace == HERE and selects(peer["podSelector"], other.labels)
    return somewhere and bool(other.namespace) and selects(peer.get("podSelector", {}), other.labels)


def _is_port(ports: list[Any] | None, target: Machine, port: int) -> bool:
    return ports is None or port in (target.ports.get(one["port"], one["port"]) for one in ports)
