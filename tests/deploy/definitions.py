"""Custom resources against their CustomResourceDefinitions: misspelt keys and wrong types.

The definitions are the operators' and not ours to ship. `PLAUDIT_CRDS` names a folder of them, a YAML file each, as
`kubectl get crd NAME -o yaml` and the operators' releases give them.
"""

import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

CUSTOM = {
    "RayCluster": "ray.io/v1",
    "ScaledObject": "keda.sh/v1alpha1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}
"""Kinds of other operators that `deploy/` may use."""


def check(resource: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError; skips where there is no definition."""
    validator = _validators().get((resource["kind"], resource["apiVersion"]))
    if validator is None:
        pytest.skip(f"no definition of {resource['kind']}: let PLAUDIT_CRDS name a folder with it")
    validator.validate(resource)


@functools.cache
def _validators() -> dict[tuple[str, str], Any]:
    folder = os.environ.get("PLAUDIT_CRDS")
    found = {}
    for path in sorted(Path(folder).glob("*.yaml")) if folder else ():
        for definition in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"apiVersion": {"type": "string"}, "metadata": {"type": "object"}}
                key = (spec["names"]["kind"], f"{spec['group']}/{version['name']}")
                found[key] = jsonschema.Draft202012Validator(schema)
    return found


def _strict(schema: Any) -> Any:
    """As JSON Schema, in which a key that nobody knows is an error: an API server drops it in silence."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _strict(value) for key, value in schema.items()}
    if found.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if isinstance(found.get("properties"), dict) and not found.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    if found.pop("nullable", False) is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found
