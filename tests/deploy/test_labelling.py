"""The labelling page's manifests and its program agree; so do they and PostgreSQL's."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import make_url

from plaudit.feedback.database import Database, open_database
from plaudit.feedback.serving import LabelServer
from plaudit.feedback.settings import LabelSettings
from plaudit.feedback.store import Store

from .containers import container_of, pod_of, settings_of
from .rendering import combination, named, overlay

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

Probe = Callable[[str], int]


@pytest.fixture
def settings(tmp_path: Path) -> LabelSettings:
    found: LabelSettings = settings_of("cluster", "Deployment", "labelling", "label.yaml", tmp_path)
    return found


@pytest.fixture
def page() -> dict[str, Any]:
    return container_of("cluster", "Deployment", "labelling")


def test_it_takes_its_settings_and_listens_where_the_manifests_say(
    settings: LabelSettings, page: dict[str, Any]
) -> None:
    ports = {one["name"]: one["containerPort"] for one in page["ports"]}
    assert settings.address == f"0.0.0.0:{ports['page']}"
    assert settings.http_address == f"0.0.0.0:{ports['http']}"


def test_there_is_time_to_drain(settings: LabelSettings, page: dict[str, Any]) -> None:
    grace = pod_of("cluster", "Deployment", "labelling")["terminationGracePeriodSeconds"]
    assert page["lifecycle"]["preStop"]["sleep"]["seconds"] + settings.drain_timeout + 5 <= grace


def test_links_and_cookies_are_of_where_the_ingress_lets_people_in(settings: LabelSettings) -> None:
    ingress = named(overlay("cluster"), "Ingress", "labelling")["spec"]
    [rule] = ingress["rules"]
    [path] = rule["http"]["paths"]
    assert urlsplit(settings.url) == ("https", rule["host"], "", "", "")
    assert [rule["host"]] == ingress["tls"][0]["hosts"]
    asked = path["backend"]["service"]
    service = named(overlay("cluster"), "Service", asked["name"])["spec"]
    assert asked["port"]["name"] in {port["name"] for port in service["ports"]}
    assert service["selector"] == {"app.kubernetes.io/name": "labelling"}


def test_its_tasks_are_in_the_volume(settings: LabelSettings, page: dict[str, Any]) -> None:
    mounted = {mount["mountPath"] for mount in page["volumeMounts"]}
    assert {str(Path(source).parent) for task in settings.tasks for source in task.data.sources} <= mounted


def test_its_database_is_the_one_that_postgresql_makes(settings: LabelSettings, page: dict[str, Any]) -> None:
    url, there = make_url(settings.database), container_of("cluster", "StatefulSet", "postgresql")
    made = {one["name"]: one.get("value", one.get("valueFrom")) for one in there["env"]}
    assert (url.username, url.database) == (made["POSTGRES_USER"], made["POSTGRES_DB"])
    assert url.password is None, "a ConfigMap is no place for it"
    [given] = [one["valueFrom"] for one in page["env"] if one["name"] == "PGPASSWORD"]
    assert given == made["POSTGRES_PASSWORD"]
    [port] = named(overlay("cluster"), "Service", url.host or "")["spec"]["ports"]
    assert port["port"] == (url.port or 5432)


def test_postgresql_writes_where_it_may() -> None:
    there = container_of("cluster", "StatefulSet", "postgresql")
    [data] = [one["value"] for one in there["env"] if one["name"] == "PGDATA"]
    writable = {mount["mountPath"] for mount in there["volumeMounts"] if not mount.get("readOnly")}
    assert str(Path(data).parent) in writable, "a folder in the volume: PostgreSQL takes none that is not its own"
    assert {"/tmp", "/var/run/postgresql"} <= writable


def test_a_reward_server_that_asks_people_has_the_pages_password(page: dict[str, Any]) -> None:
    [server] = named(combination(("people",)), "Deployment", "reward-server")["spec"]["template"]["spec"]["containers"]
    assert server["env"] == page["env"]


# -- asked as a kubelet does -----------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Database:
    (tmp_path / "state").mkdir()
    return open_database(f"sqlite:///{tmp_path}/state/judgements.db")


@pytest.fixture
async def server(database: Database) -> AsyncIterator[LabelServer]:
    settings = LabelSettings(database="", address="127.0.0.1:0", http_address="127.0.0.1:0")
    async with LabelServer(settings, Store(database)) as found:
        yield found


async def test_it_is_alive_without_its_database_and_not_ready(
    server: LabelServer, database: Database, tmp_path: Path, page: dict[str, Any]
) -> None:
    assert [await _asked(server, page[probe]) for probe in PROBES] == [200, 200, 200]
    database.close()
    (tmp_path / "state").rename(tmp_path / "away")
    await server.look()
    assert [await _asked(server, page[probe]) for probe in PROBES] == [200, 503, 200]
    (tmp_path / "away").rename(tmp_path / "state")
    await server.look()
    assert [await _asked(server, page[probe]) for probe in PROBES] == [200, 200, 200]


async def _asked(server: LabelServer, probe: dict[str, Any]) -> int:
    at = {"page": server.address, "http": server.http_address}[probe["httpGet"]["port"]]
    async with httpx.AsyncClient() as kubelet:
        return (await kubelet.get(f"http://{at}{probe['httpGet']['path']}")).status_code
