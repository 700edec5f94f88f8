"""The rules and dashboards of deploy/components/monitoring, and what the programs export, as tests read them."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client import CollectorRegistry

from plaudit.feedback.page import metrics as label
from plaudit.reward import metrics as reward
from plaudit.rollout.pool import PoolCounts
from plaudit.trainer.metrics import TrainerMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"
MONITORING = DEPLOY / "components/monitoring"
SAMPLES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def groups(name: str) -> list[dict[str, Any]]:
    """Of `alerts` or `recording`, as Prometheus reads them."""
    return yaml.safe_load((MONITORING / f"{name}.yaml").read_text())["spec"]["groups"]


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in groups(name) for rule in group["rules"]]


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted((MONITORING / "dashboards").glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that draw something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def selected(expression: str, namespace: str = "plaudit", pod: str = ".+", rate_interval: str = "5m") -> str:
    """A dashboard's expression as Grafana sends it."""
    chosen = {"$__rate_interval": rate_interval, "$namespace": namespace, "$pod": pod}
    for variable, value in chosen.items():
        expression = expression.replace(variable, value)
    return expression


def expressions() -> dict[str, str]:
    """Every expression there is, by where it stands."""
    found = {
        f"rule {rule.get('record') or rule['alert']}": rule["expr"] for rule in rules("recording") + rules("alerts")
    }
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                found[f"{name}: {panel['title']}, {target['refId']}"] = selected(target["expr"])
    return found


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """What an expression reads. Raises ValueError for one that is no PromQL."""
    return _within(promql_parser.parse(expression))


def _within(node: Any) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "args"):
        below = getattr(node, name, None)
        for one in below if isinstance(below, list) else [below]:
            if one is not None:
                yield from _within(one)


@functools.cache
def registries() -> dict[str, CollectorRegistry]:
    """What each program has at /metrics, by the job that scrapes it."""
    return {
        "plaudit-trainer": TrainerMetrics(PoolCounts, kl_target=6.0).registry,
        "plaudit-reward": reward.Metrics().registry,
        "plaudit-label": label.Metrics().registry,
    }


@functools.cache
def exported() -> dict[str, set[str]]:
    """The labels of each series that the programs export, by its name."""
    found: dict[str, set[str]] = {}
    for registry in registries().values():
        for family in registry.collect():
            for ending in SAMPLES.get(family.type, ()):
                found[family.name + ending] = _labels(registry, family.name) | (
                    {"le"} if ending == "_bucket" else set()
                )
    return {name: labels for name, labels in found.items() if not name.endswith("_created")}


def _labels(registry: CollectorRegistry, name: str) -> set[str]:
    return set(getattr(registry._names_to_collectors.get(name), "_labelnames", ()))
