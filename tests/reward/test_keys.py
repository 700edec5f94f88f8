"""API keys: who has none is not let in, and what a key is stands nowhere."""

import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import yaml
from google.rpc.code_pb2 import Code
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from plaudit.cli import main
from plaudit.errors import ConfigurationError
from plaudit.reward.gate import gate as gates
from plaudit.reward.gate.interceptor import scope_of
from plaudit.reward.gate.keys import Keyring, digest_of, new_key, read_keys
from plaudit.reward.gate.settings import KeySettings
from plaudit.reward.server import RewardServer
from plaudit_client import AsyncRewardClient, ScoreItem, TextPair
from plaudit_client.errors import Unauthenticated
from plaudit_protos.reward.v1.reward_pb2 import DESCRIPTOR

from .serving import DIGITS, Running, failure, pb, scores, serving, settings, text, until

ANSWERED = [0.4]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def key(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    return add(file, capsys, "name=trainer")


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "EVERY_S", 0.05)


@pytest.fixture
async def running(file: Path, key: str) -> AsyncIterator[Running]:
    async with serving(DIGITS, keys=str(file)) as running:
        yield running


def add(file: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["keys", str(file), "add", *arguments]) == 0
    return capsys.readouterr().out.strip()


def read(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, content: bytes | None) -> None:
    """At once, as editors and Secrets do; away, where it is None."""
    if content is None:
        file.unlink()
        return
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(file)


def sent(authorization: str) -> dict[str, object]:
    return {"metadata": (("authorization", authorization),)}


async def test_who_has_the_key_is_answered(running: Running, key: str):
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    for authorization in (f"Bearer {key}", f"bearer  {key} ", f"Basic {basic}"):
        assert scores(await running.score(text("", "1 2"), **sent(authorization))) == ANSWERED


async def test_who_has_none_is_told_so_with_one_reason(running: Running, key: str):
    wrong = ["", "Bearer", "Bearer ", f"Bearer {key}x", f"Bearer {key[:-1]}", key, "Basic !", "Digest x", "Bearer é"]
    calls = [running.score(text("", "1 2"))]
    calls += [running.score(text("", "1 2"), **sent(one)) for one in wrong if one.isascii()]
    for call in calls:
        found = await failure(call)
        assert (found.code, found.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
        assert key not in found.message
    assert running.server.metrics.rejected.labels("UNAUTHENTICATED")._value.get() == len(calls)


async def test_what_a_stranger_sends_is_not_even_read(running: Running):
    score = running.channel.unary_unary("/plaudit_protos.reward.v1.RewardService/Score")
    for garbage in (b"\xff\xff", b"x" * 5_000_000):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await score(garbage)
        assert caught.value.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await score(b"\xff\xff")  # malformed, which somebody with a key is told
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_health_takes_no_key(running: Running):
    reply = await HealthStub(running.channel).Check(health_pb2.HealthCheckRequest(service="readiness"))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_key_without_the_scope_is_refused(file: Path, capsys: pytest.CaptureFixture[str]):
    key = add(file, capsys, "name=operator", "scopes=[admin]")
    async with serving(DIGITS, keys=str(file)) as running:
        found = await failure(running.score(text("", "1"), **sent(f"Bearer {key}")))
        assert (found.code, found.reason) == (Code.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert "'score'" in found.message


def test_what_is_not_listed_takes_the_scope_admin():
    service = DESCRIPTOR.services_by_name["RewardService"]
    listed = {method.name for method in service.methods if scope_of(f"/{service.full_name}/{method.name}") == "score"}
    assert listed == {"Score", "RankCandidates", "ScoreTokens", "GetModel", "ListModels"}
    assert scope_of(f"/{service.full_name}/LoadModel") == "admin"
    assert scope_of("/whatever.comes.Next/Method") == "admin"


async def test_what_is_not_there_is_unimplemented_to_who_is_let_in(running: Running, key: str):
    call = running.channel.unary_unary("/some.Other/Method")
    for options, code in (({}, "UNAUTHENTICATED"), (sent(f"Bearer {key}"), "UNIMPLEMENTED")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", **options)
        assert caught.value.code().name == code


async def test_keys_change_while_the_server_runs(running: Running, file: Path, key: str, capsys):
    assert main(["keys", str(file), "remove", "name=trainer"]) == 0

    async def let_in(key: str) -> bool:
        try:
            return bool(await running.score(text("", "1"), **sent(f"Bearer {key}")))
        except grpc.aio.AioRpcError:
            return False

    while await let_in(key):
        pass
    capsys.readouterr()
    fresh = add(file, capsys, "name=trainer")
    while not await let_in(fresh):
        pass


async def test_a_broken_file_leaves_the_old_keys_and_is_told(running: Running, file: Path, key: str, caplog):
    failed, good = running.server.metrics.reload_failed.labels("keys")._value, read(file)
    for broken in (b"", b"keys: [", b"[" * 100_000, yaml.safe_dump({"keys": [{"name": "x", "sha256": key}]}).encode()):
        write(file, broken)
        await until(lambda: failed.get() == 1)
        assert scores(await running.score(text("", "1 2"), **sent(f"Bearer {key}"))) == ANSWERED
        write(file, good)
        await until(lambda: failed.get() == 0)
    write(file, None)
    await until(lambda: failed.get() == 1)
    assert scores(await running.score(text("", "1 2"), **sent(f"Bearer {key}"))) == ANSWERED
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 5
    assert all("stays in force" in record.message for record in told)
    assert key not in str([vars(record) for record in caplog.records])  # where its hash should have stood


def test_a_broken_file_at_the_start_is_one_line_without_what_stood_in_it(file: Path, key: str):
    wrong = {
        "keys": [{"name": "x", "sha256": key}],
        "Keys": [],
        "other": [{"name": "x", "sha256": digest_of(key), "scope": [key]}],
    }
    contents = [yaml.safe_dump({name: value}).encode() for name, value in wrong.items()]
    for content in [*contents, f"keys: [{key}".encode(), f"{key}: {{".encode(), b"", b"\xff", key.encode()]:
        file.write_bytes(content)
        with pytest.raises(ConfigurationError) as caught:
            read_keys(file)
        assert str(file) in str(caught.value)
        assert key not in str(caught.value)


def test_two_keys_of_one_name_are_one_client_until_the_old_one_goes(file: Path, key: str, capsys):
    newer = add(file, capsys, "name=trainer")
    other = add(file, capsys, "name=other", "quota.tokens_per_second=5", "quota.burst_tokens=9")
    assert [read_keys(file).value.find(one).name for one in (key, newer, other)] == ["trainer", "trainer", "other"]
    assert main(["keys", str(file), "remove", "name=trainer", "but_newest=true"]) == 0
    ring = read_keys(file).value
    assert (ring.find(key), ring.find(newer).name) == (None, "trainer")
    assert ring.find(other).quota.burst_tokens == 9
    assert main(["keys", str(file), "remove", "name=nobody"]) == 2
    assert main(["keys", str(file), "add", "name=other"]) == 2  # with another quota
    assert main(["keys", str(file), "add", "name=UPPER"]) == 2
    assert main(["keys", str(file), "invent"]) == 2


def test_every_key_is_compared_and_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    from plaudit.reward.gate import keys as module

    made = [new_key() for _ in range(5)]
    assert len({*made}) == 5
    ring, compared = Keyring([KeySettings(name="x", sha256=digest_of(one)) for one in made]), []
    real = module.hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", lambda *pair: compared.append(pair) or real(*pair))
    for presented in (made[0], made[4], "nonsense"):
        ring.find(presented)
    assert len(compared) == 15


async def test_the_key_stands_nowhere(file: Path, key: str, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    async with serving(DIGITS, keys=str(file), log_level="DEBUG") as running:
        async with AsyncRewardClient(running.server.address, api_key=key) as client:
            (found,) = await client.score([ScoreItem(TextPair("", "1 2"))])
            assert found.value == ANSWERED[0]
            told = [repr(client), repr(vars(running.server.gate)), read(file).decode(), repr(running.server.settings)]
        async with AsyncRewardClient(running.server.address, api_key=f"{key}x") as client:
            with pytest.raises(Unauthenticated) as caught:
                await client.score([ScoreItem(TextPair("", "1 2"))])
            told += [str(caught.value), repr(caught.value)]
    told += [str([vars(record) for record in caplog.records]), *capsys.readouterr()]
    assert not [one for one in told if key.removeprefix("plaudit_") in one]
    with pytest.raises(ValueError, match="empty or has") as refused:
        AsyncRewardClient("x:1", api_key=f"{key}\n")
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ({}, "nobody is asked who they are"),
        ({"insecure_bind": True}, None),
        ({"keys": "keys.yaml"}, "in the clear"),
        ({"keys": "keys.yaml", "insecure_bind": True}, None),
        ({"tls": {"certificate": "c", "key": "k"}}, "nobody is asked who they are"),
        ({"tls": {"certificate": "c", "key": "k"}, "keys": "keys.yaml"}, None),
        ({"tls": {"certificate": "c", "key": "k", "client_ca": "a"}}, None),
    ],
)
def test_other_machines_reach_a_server_that_asks_who_they_are_and_one_that_is_told_not_to(more, refused):
    for key in ("address", "http_address"):
        if refused is None:
            assert settings(DIGITS, **{key: "0.0.0.0:0", **more})
        elif key == "address" or "keys" not in more:
            with pytest.raises(ConfigurationError, match=refused):
                settings(DIGITS, **{key: "0.0.0.0:0", **more})
        assert settings(DIGITS, **{key: "127.0.0.1:0", **more})


async def test_without_keys_nobody_is_asked_for_one():
    async with RewardServer(settings(DIGITS)) as server, grpc.aio.insecure_channel(server.address) as channel:
        await server.load()
        call = channel.unary_unary("/plaudit_protos.reward.v1.RewardService/ListModels")
        assert await call(pb.ListModelsRequest().SerializeToString(), **sent("Bearer whatever"))
