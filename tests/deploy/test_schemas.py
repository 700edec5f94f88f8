"""Whatever can be put together from `deploy/` is what an API server takes."""

import jsonschema
import kubernetes_validate
import pytest

from . import definitions, rendering
from .rendering import Resource

KUBERNETES = "1.37"


def check(resource: Resource) -> None:
    """Raises, or skips, unless somebody knows the kind and finds nothing wrong."""
    if definitions.CUSTOM.get(resource["kind"]) == resource["apiVersion"]:
        definitions.check(resource)
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", rendering.OVERLAYS)
def test_an_overlay_is_complete(name: str) -> None:
    kinds = {one["kind"] for one in rendering.overlay(name)}
    assert {"Namespace", "Deployment", "Service", "RayCluster", "Job", "ConfigMap", "ServiceAccount"} <= kinds
    assert {one["metadata"].get("namespace", "plaudit") for one in rendering.overlay(name)} == {"plaudit"}


def test_every_combination_is_of_known_kinds_that_are_well_formed() -> None:
    resources = [one for _, one in rendering.distinct() if one["kind"] not in definitions.CUSTOM]
    assert len(resources) > 20
    for one in resources:
        check(one)


@pytest.mark.parametrize("kind", definitions.CUSTOM)
def test_resources_of_operators_are_well_formed(kind: str) -> None:
    resources = [one for _, one in rendering.distinct(kind)]
    assert resources
    for one in resources:
        check(one)


@pytest.mark.parametrize("change", [{"kind": "RayClusters"}, {"apiVersion": "apps/v2"}])
def test_a_kind_that_nobody_knows_is_refused(change: Resource) -> None:
    resource = rendering.named(rendering.overlay("local"), "Deployment", "reward-server") | change
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        check(resource)


def test_a_misspelt_key_is_refused() -> None:
    resource = rendering.named(rendering.overlay("local"), "Job", "trainer")
    resource["spec"]["backofLimit"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        check(resource)
    cluster = rendering.named(rendering.overlay("local"), "RayCluster", "rollouts")
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(jsonschema.ValidationError):
        check(cluster)
