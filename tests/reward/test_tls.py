"""TLS and mTLS with real handshakes: who is let in, who is not, and certificates that change under a running server."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from plaudit.cli import main
from plaudit.errors import ConfigurationError
from plaudit.reward.forms.exchange import Answered
from plaudit.reward.gate import gate as gates
from plaudit.reward.gate.callers import caller
from plaudit.reward.gate.http import GateMiddleware
from plaudit.reward.server import RewardServer
from plaudit.reward_server.asking import RewardServerSettings, RewardTlsSettings, open_client
from plaudit.telemetry.http import bind, serving
from plaudit_client import AsyncRewardClient, RetryPolicy, ScoreItem, Tls
from plaudit_client.errors import ServerUnavailable
from plaudit_client.types import TextPair
from tests.client.drivers import DRIVERS

from .authorities import Authority, Files
from .processes import process, write
from .serving import DIGITS, settings, until

EXPIRED = timedelta(hours=-1)
ITEM = ScoreItem(TextPair("", "1 2"))


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "EVERY_S", 0.05)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def strangers(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "strangers", "strangers")


@asynccontextmanager
async def served(certificate: Files, client_ca: Path | None = None, **more: Any) -> AsyncIterator[RewardServer]:
    tls = {"certificate": certificate.certificate, "key": certificate.key, "client_ca": client_ca}
    async with RewardServer(settings(DIGITS, tls=tls, **more)) as server:
        await server.load()
        yield server


async def ask(address: str, tls: Tls | None) -> float:
    async with AsyncRewardClient(address, tls=tls, retry=RetryPolicy(max_attempts=1)) as client:
        (found,) = await client.score([ITEM])
        return found.value


async def refused(address: str, tls: Tls | None) -> str:
    """A handshake that fails is no status of the server's: nobody answers."""
    with pytest.raises(ServerUnavailable) as caught:
        await ask(address, tls)
    return str(caught.value)


async def test_a_client_that_knows_the_authority_is_answered_over_tls(authority: Authority):
    async with served(authority.sign("server")) as server:
        assert await ask(server.address, Tls(ca=authority.ca)) == 0.4
        await refused(server.address, None)  # in the clear


async def test_a_server_that_is_not_the_right_one_is_not_told_anything(authority: Authority, strangers: Authority):
    async with served(authority.sign("elsewhere", host="elsewhere.test")) as server:
        assert "elsewhere" not in await refused(server.address, Tls(ca=strangers.ca))  # another authority's
        await refused(server.address, Tls(ca=authority.ca))  # for another host
        assert await ask(server.address, Tls(ca=authority.ca, server_name="elsewhere.test")) == 0.4
        await refused(server.address, Tls())  # of no publicly known authority


async def test_a_servers_certificate_that_expires_while_it_runs_is_refused(authority: Authority):
    async with served(authority.sign("server", lasts=timedelta(seconds=4))) as server:
        assert await ask(server.address, Tls(ca=authority.ca)) == 0.4
        await asyncio.sleep(4.1)
        assert "expired" in await refused(server.address, Tls(ca=authority.ca))


async def test_with_mtls_only_clients_of_the_authority_are_let_in(authority: Authority, strangers: Authority):
    mine = authority.sign("client")
    late, foreign = authority.sign("late", lasts=EXPIRED), strangers.sign("client")
    async with served(authority.sign("server"), authority.ca) as server:
        assert await ask(server.address, Tls(authority.ca, mine.certificate, mine.key)) == 0.4
        await refused(server.address, Tls(ca=authority.ca))  # with none
        await refused(server.address, Tls(authority.ca, late.certificate, late.key))
        await refused(server.address, Tls(authority.ca, foreign.certificate, foreign.key))


async def test_a_client_is_called_by_its_certificates_subject(authority: Authority):
    mine = authority.sign("trainer-7")
    async with served(authority.sign("server"), authority.ca) as server:
        await ask(server.address, Tls(authority.ca, mine.certificate, mine.key))
        assert [one.id for one in server.gate.callers._known.values()] == ["subject CN=trainer-7"]


async def test_certificates_and_authorities_change_without_a_restart(authority: Authority, strangers: Authority):
    server_files = authority.sign("server")
    at = (server_files.certificate, server_files.key)
    mine, theirs = authority.sign("client"), strangers.sign("client")
    old = Tls(authority.ca, mine.certificate, mine.key)
    new = Tls(strangers.ca, theirs.certificate, theirs.key)
    client_ca = authority.ca.with_name("clients.crt")
    replace(client_ca, authority.ca.read_bytes())
    async with served(server_files, client_ca) as server, AsyncRewardClient(server.address, tls=old) as open_before:
        assert (await open_before.score([ITEM]))[0].value == 0.4
        await refused(server.address, new)
        before = server.gate.tls.files.value
        strangers.sign("server", at=at)
        replace(client_ca, strangers.ca.read_bytes())
        await until(lambda: server.gate.tls.files.value is not before and not server.gate.tls.files.broken)
        assert await ask(server.address, new) == 0.4
        await refused(server.address, old)
        assert (await open_before.score([ITEM]))[0].value == 0.4  # its connection goes on


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
async def test_a_client_goes_on_with_certificates_that_were_renewed(kind: str, authority, strangers, tmp_path: Path):
    """Those that it began with are worth nothing in the end, and no call fails."""
    server_files, mine = authority.sign("server"), authority.sign("client")
    ca, client_ca = tmp_path / "ca.crt", tmp_path / "clients.crt"
    for file in (ca, client_ca):
        replace(file, authority.ca.read_bytes())
    async with served(server_files, client_ca, max_connection_age=0.5) as server:
        client = DRIVERS[kind](server.address, tls=Tls(ca, mine.certificate, mine.key), timeout=10)
        ask = partial(asyncio.to_thread, client.score, [ITEM])
        assert (await ask())[0].value == 0.4
        before = server.gate.tls.files.value
        strangers.sign("server", at=(server_files.certificate, server_files.key))
        replace(client_ca, strangers.ca.read_bytes())
        await until(lambda: server.gate.tls.files.value is not before and not server.gate.tls.files.broken)
        await asyncio.sleep(0.6)  # no connection is of the time before
        strangers.sign("client", at=(mine.certificate, mine.key))
        replace(ca, strangers.ca.read_bytes())
        for _ in range(3):
            assert (await ask())[0].value == 0.4
        await asyncio.to_thread(client.close)


async def test_files_that_are_not_in_order_leave_the_old_ones_and_are_told(authority: Authority, caplog):
    files = authority.sign("server")
    at = (files.certificate, files.key)
    good, key = files.certificate.read_bytes(), files.key.read_bytes()
    other = authority.sign("other")
    async with served(files) as server:
        failed = server.metrics.reload_failed.labels("tls")._value
        for certificate in (b"", b"nonsense", other.certificate.read_bytes()):  # the last: not this key's
            replace(files.certificate, certificate)
            await until(lambda: failed.get() == 1)
            assert await ask(server.address, Tls(ca=authority.ca)) == 0.4
            replace(files.certificate, good)
            await until(lambda: failed.get() == 0)
        authority.sign("server", at=at, lasts=EXPIRED)
        await until(lambda: failed.get() == 1)
        assert await ask(server.address, Tls(ca=authority.ca)) == 0.4
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "expired" in told[-1].problem
    assert key.decode().splitlines()[1] not in str([vars(record) for record in caplog.records])


async def test_how_long_the_certificate_lasts_is_a_metric(authority: Authority):
    async with served(authority.sign("server", lasts=timedelta(minutes=10)), authority.ca) as server:
        page = (await _get(f"http://{server.http_address}/metrics")).text
    left = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("plaudit_reward_certificate_left"))
    assert 500 < float(left['plaudit_reward_certificate_left_seconds{file="certificate"}']) <= 600
    assert float(left['plaudit_reward_certificate_left_seconds{file="client_ca"}']) > 3000


async def test_probes_are_answered_in_the_clear(authority: Authority):
    async with served(authority.sign("server"), authority.ca) as server:
        for path in ("/health", "/live"):
            assert (await _get(f"http://{server.http_address}{path}")).status_code == 200


@pytest.mark.parametrize(
    ("certificate", "key", "named"),
    [
        ("none.crt", "server.key", "none.crt cannot be read"),
        ("server.key", "server.key", "not a certificate"),
        ("server.crt", "server.crt", "not a private key"),
        ("server.crt", "other.key", "is not the key of"),
        ("late.crt", "late.key", "expired at"),
    ],
)
def test_files_that_are_not_in_order_at_the_start_end_it_with_one_line(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str], certificate: str, key: str, named: str
):
    for name, lasts in (("server", timedelta(hours=1)), ("other", timedelta(hours=1)), ("late", EXPIRED)):
        authority.sign(name, lasts=lasts)
    tls = {"certificate": str(tmp_path / certificate), "key": str(tmp_path / key)}
    assert main(["serve", str(write(tmp_path, models=[DIGITS], tls=tls))]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert named in shown


def test_programs_take_a_key_and_certificates_as_files(tmp_path: Path, authority: Authority, capsys):
    files, mine, keys = authority.sign("server"), authority.sign("client"), tmp_path / "keys.yaml"
    assert main(["keys", str(keys), "add", "name=scorer"]) == 0
    key = tmp_path / "key"
    key.write_text(capsys.readouterr().out)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "", "response": "1 2"}\n')
    tls = {"certificate": str(files.certificate), "key": str(files.key), "client_ca": str(authority.ca)}
    with process(tmp_path / "server", models=[DIGITS], tls=tls, keys=str(keys)) as server:
        program = tmp_path / "score.yaml"
        program.write_text(f"data: {{source: {tmp_path}/rows.jsonl}}\noutput: {tmp_path}/scores.jsonl\n")
        given = [f"reward.address={server.address}", f"reward.tls.ca={authority.ca}"]
        given += [f"reward.tls.certificate={mine.certificate}", f"reward.tls.key={mine.key}"]
        assert main(["score", str(program), *given]) == 2
        assert "no API key" in capsys.readouterr().err
        assert main(["score", str(program), *given, f"reward.api_key_file={key}"]) == 0
        assert main(["score", str(program), *given, "reward.api_key_file=/no/file"]) == 2
    assert '"score": 0.4' in (tmp_path / "scores.jsonl").read_text()


# -- HTTP ------------------------------------------------------------------------------------------------------------


async def whoami(_: Request) -> PlainTextResponse:
    return PlainTextResponse(caller.get().id)


@asynccontextmanager
async def served_over_http(**more: Any) -> AsyncIterator[tuple[str, RewardServer]]:
    """The middleware and the context of a reward server, before an application of HTTP's."""
    server = RewardServer(settings(DIGITS, **more))
    app = Starlette(routes=[Route("/whoami", whoami), Route("/models/load", whoami)])
    gated = GateMiddleware(app, server.gate, server.metrics, admin=lambda path: path.startswith("/models"))
    listener = bind("127.0.0.1", 0)
    tls = server.gate.tls.context() if server.gate.tls else None
    watching = asyncio.create_task(server.gate.watch())
    async with serving(Answered(gated), listener, tls=tls):
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}", server
    watching.cancel()


async def test_http_takes_a_key_as_bearer_or_in_the_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["keys", str(tmp_path / "keys.yaml"), "add", "name=openrlhf"])
    key = capsys.readouterr().out.strip()
    async with served_over_http(keys=str(tmp_path / "keys.yaml")) as (url, server):
        for at, headers in ((url, {"Authorization": f"Bearer {key}"}), (url.replace("//", f"//user:{key}@"), {})):
            found = await _get(f"{at}/whoami", headers=headers)
            assert (found.status_code, found.text) == (200, "key openrlhf")
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {key}"}):
            found = await _get(f"{url}/whoami", headers=headers)
            assert found.status_code == 401
            assert found.headers["www-authenticate"].startswith("Bearer")
            assert found.json()["error"]["status"] == "UNAUTHENTICATED"
        found = await _get(f"{url}/models/load", headers={"Authorization": f"Bearer {key}"})
        assert (found.status_code, found.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
        assert server.metrics.rejected.labels("UNAUTHENTICATED")._value.get() == 3


async def test_no_header_says_who_a_client_is():
    async with served_over_http() as (url, _):
        for headers in ({}, {"X-Forwarded-For": "10.1.2.3"}, {"Forwarded": "for=10.1.2.3"}):
            assert (await _get(f"{url}/whoami", headers=headers)).text == "address 127.0.0.1"


async def test_https_asks_for_certificates_and_changes_them_as_grpc_does(authority: Authority, strangers: Authority):
    files, mine, theirs = authority.sign("server"), authority.sign("client"), strangers.sign("client")
    client_ca = authority.ca.with_name("clients.crt")
    replace(client_ca, authority.ca.read_bytes())
    tls = {"certificate": files.certificate, "key": files.key, "client_ca": client_ca}
    async with served_over_http(tls=tls) as (url, server):
        found = await _get(f"{url}/whoami", verify=_context(authority, mine))
        assert found.text == "subject CN=client"
        for context in (_context(authority, None), _context(authority, theirs), _context(strangers, mine)):
            with pytest.raises(httpx.TransportError):
                await _get(f"{url}/whoami", verify=context)
        before = server.gate.tls.files.value
        strangers.sign("server", at=(files.certificate, files.key))
        replace(client_ca, strangers.ca.read_bytes())
        await until(lambda: server.gate.tls.files.value is not before and not server.gate.tls.files.broken)
        assert (await _get(f"{url}/whoami", verify=_context(strangers, theirs))).status_code == 200
        with pytest.raises(httpx.TransportError):
            await _get(f"{url}/whoami", verify=_context(strangers, mine))


def _context(authority: Authority, mine: Files | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    if mine is not None:
        context.load_cert_chain(mine.certificate, mine.key)
    return context


async def _get(url: str, verify: ssl.SSLContext | bool = True, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(verify=verify) as client:
        return await client.get(url, **more)


def replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def test_a_client_is_given_both_halves_of_its_certificate(tmp_path: Path):
    with pytest.raises(ValueError, match="go together"):
        Tls(certificate=tmp_path / "x")
    half = RewardServerSettings(tls=RewardTlsSettings(certificate=tmp_path / "x"))
    with pytest.raises(ConfigurationError, match="go together"):
        open_client(half)
