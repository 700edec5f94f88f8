"""What an unauthenticated stranger reaches: every port, every RPC, every route, held against docs/security.md."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import CollectorRegistry

from plaudit.cli import main
from plaudit.reward.forms.paths import FORMS
from plaudit.telemetry.http import Health, application
from plaudit_client import Tls
from plaudit_protos.reward.v1 import admin_pb2, reward_pb2

from .authorities import Authority
from .processes import Served, process
from .serving import DIGITS

DOCS = Path(__file__).parents[2] / "docs/security.md"
SERVICES = [
    reward_pb2.DESCRIPTOR.services_by_name["RewardService"],
    admin_pb2.DESCRIPTOR.services_by_name["ModelAdminService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
]
METHODS = [f"{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
ROUTES = [route.path for route in application(CollectorRegistry(), lambda: Health(True)).routes]
UNWRITTEN = "grpc.health.v1.Health/List"
"""In the contract of gRPC's health service, and not in its Python package."""
FORM_ROUTES = [*FORMS, "/v1/models", "/v1/models/digits", "/v1/models/digits:score", "/openapi.json", "/version"]
"""Of the HTTP forms; POST where there is something to score."""
ELSEWHERE = ("any.other.Service/Method", "/anything/else")
STANCES = {"neither": (), "keys": ("keys",), "mTLS": ("mTLS",), "both": ("keys", "mTLS")}
ANSWERS, NOT_THERE, NO_CONNECTION = "answers", "is not there", "no connection"
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class Known(NamedTuple):
    """What somebody who is let in has."""

    tls: Tls
    key: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strangers")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture
def known(folder: Path, authority: Authority, capsys: pytest.CaptureFixture[str]) -> Known:
    mine = authority.sign("client")
    (folder / "keys.yaml").unlink(missing_ok=True)
    assert main(["keys", str(folder / "keys.yaml"), "add", "name=known", "scopes=[score,admin]"]) == 0
    return Known(Tls(authority.ca, mine.certificate, mine.key), capsys.readouterr().out.strip())


@contextlib.contextmanager
def served(stance: str, folder: Path, authority: Authority) -> Iterator[Served]:
    files, more = authority.sign("server"), dict[str, Any]()
    if "keys" in STANCES[stance]:
        more |= {"keys": str(folder / "keys.yaml"), "model_roots": [str(folder)]}
    if "mTLS" in STANCES[stance]:
        tls = {"certificate": files.certificate, "key": files.key, "client_ca": authority.ca}
        more["tls"] = {name: str(path) for name, path in tls.items()}
    with process(folder / stance, models=[DIGITS], forms={"address": "127.0.0.1:0"}, **more) as server:
        yield server


def reached(server: Served, channel: grpc.Channel, key: str | None = None) -> dict[str, str]:
    """What answers, by method and route."""
    found = {method: rpc(channel, method, key) for method in (*METHODS, ELSEWHERE[0])}
    found |= {route: http(server, route) for route in (*ROUTES, ELSEWHERE[1])}
    return found | {f"forms {route}": form(server, route, key) for route in (*FORM_ROUTES, ELSEWHERE[1])}


def rpc(channel: grpc.Channel, method: str, key: str | None) -> str:
    """Asked as a stream of one empty message, which every method is on the wire."""
    metadata = (("authorization", f"Bearer {key}"),) if key else None
    call = channel.stream_stream(f"/{method}")(iter([b""]), timeout=10, metadata=metadata)
    try:
        next(call)
    except grpc.RpcError as error:
        code = error.code()
        if code in REFUSED:
            return code.name
        return {"UNAVAILABLE": NO_CONNECTION, "UNIMPLEMENTED": NOT_THERE}.get(code.name, ANSWERS)
    call.cancel()
    return ANSWERS


def http(server: Served, route: str) -> str:
    return NOT_THERE if httpx.get(f"http://{server.http_address}{route}").status_code == 404 else ANSWERS


def form(server: Served, route: str, key: str | None) -> str:
    """Over TLS too, without a certificate: whichever gets further."""
    method = "POST" if route in FORMS or ":" in route else "GET"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    outcomes = set()
    for scheme in ("http", "https"):
        with contextlib.suppress(httpx.TransportError), httpx.Client(verify=False) as client:
            reply = client.request(method, f"{scheme}://{server.forms_address}{route}", headers=headers, json={})
            outcomes.add({401: "UNAUTHENTICATED", 404: NOT_THERE}.get(reply.status_code, ANSWERS))
    (outcome,) = outcomes or {NO_CONNECTION}
    return outcome


def ports_of(server: Served) -> set[int]:
    """On which it and its children listen."""
    family = psutil.Process(server.process.pid)
    listening = [one for who in (family, *family.children(recursive=True)) for one in who.net_connections("inet")]
    return {one.laddr.port for one in listening if one.status == psutil.CONN_LISTEN}


def row_of(method: str) -> str:
    return method if method.startswith("/") else method.rpartition(".")[2]


def test_what_a_stranger_reaches_is_what_the_documentation_says(folder: Path, authority: Authority, known: Known):
    columns: dict[str, dict[str, str]] = {}
    for stance in STANCES:
        with served(stance, folder, authority) as server:
            addresses = (server.address, server.http_address, server.forms_address)
            assert ports_of(server) == {int(one.rpartition(":")[2]) for one in addresses}
            with grpc.insecure_channel(server.address) as stranger:
                columns[stance] = reached(server, stranger)
            if "mTLS" in STANCES[stance]:  # one that goes along with TLS, and has no certificate
                options = [("grpc.use_local_subchannel_pool", 1)]
                credentials = Tls(ca=authority.ca).contents().credentials()
                with grpc.secure_channel(server.address, credentials, options=options) as stranger:
                    assert reached(server, stranger) == columns[stance]
    header = f"| where | what | {' | '.join(STANCES)} |"
    lines = [header, "|" + "---|" * (2 + len(STANCES))]
    for method in (*METHODS, ELSEWHERE[0], *ROUTES, ELSEWHERE[1]):
        what = "anything else" if method in ELSEWHERE else f"`{row_of(method)}`"
        where = "`http_address`" if method.startswith("/") else "`address`"
        lines.append(f"| {where} | {what} | {' | '.join(columns[stance][method] for stance in STANCES)} |")
    for route in (*FORM_ROUTES, ELSEWHERE[1]):
        what = "anything else" if route in ELSEWHERE else f"`{route}`"
        lines.append(f"| `forms.address` | {what} | {' | '.join(columns[one][f'forms {route}'] for one in STANCES)} |")
    table = "\n".join(lines)
    if os.environ.get("PLAUDIT_WRITE_DOCS"):  # for whoever changes what is reached
        DOCS.write_text(re.sub(r"\| where \|.*?(?=\n\n)", lambda _: table, DOCS.read_text(), flags=re.DOTALL))
    assert table in DOCS.read_text(), table


def test_the_services_are_those_that_the_server_has(folder: Path, authority: Authority, known: Known):
    """So that one which is added later has its row above; and whoever is let in reaches all that is there."""
    with served("both", folder, authority) as server:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(server.address, known.tls.contents().credentials(), options=options) as channel:
            ask = channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            metadata = (("authorization", f"Bearer {known.key}"),)
            (reply,) = ask(iter([request]), metadata=metadata, timeout=10)
            names = {service.name for service in reply.list_services_response.service}
            found = reached(server, channel, known.key)
    assert names == {service.full_name for service in SERVICES}
    closed = {what for what, outcome in found.items() if outcome != ANSWERS and not what.startswith("forms")}
    assert closed == {*ELSEWHERE, UNWRITTEN}
