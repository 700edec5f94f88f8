"""A client's quota: what it may ask in the long run and at once, and what it is told beyond that."""

import time
from pathlib import Path

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details
from google.rpc.code_pb2 import Code
from hypothesis import given
from hypothesis import strategies as st

from plaudit.cli import main
from plaudit.reward.errors import QuotaExceeded
from plaudit.reward.gate.callers import MOST_KNOWN, Callers, host_of
from plaudit.reward.gate.keys import digest_of, new_key
from plaudit.reward.gate.quota import TokenBucket
from plaudit.reward.gate.settings import KeySettings, QuotaSettings
from plaudit_client import AsyncRewardClient, ScoreItem, TextPair
from plaudit_client import QuotaExceeded as Refused

from .serving import DIGITS, failure, pb, serving, text

QUOTAS = {
    "small": ["quota.tokens_per_second=5", "quota.burst_tokens=30"],
    "quick": ["quota.tokens_per_second=100", "quota.burst_tokens=30"],
}
QUOTA = QuotaSettings(tokens_per_second=10, burst_tokens=100)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 150)), max_size=60))
def test_in_the_long_run_nobody_has_more_than_rate_and_burst_and_one_call(calls):
    clock = Clock()
    bucket, taken = TokenBucket("x", QUOTA, clock), []
    for pause, tokens in calls:
        clock.now += pause
        try:
            bucket.take(tokens)
        except QuotaExceeded as error:
            clock.now += error.retry_after + 1e-9
            bucket.take(tokens)  # it is there when it was said to be
        taken.append((clock.now, tokens))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            seconds = taken[last][0] - taken[first][0]
            asked = sum(tokens for _, tokens in taken[first : last + 1])
            assert asked <= 100 + 10 * seconds + 150 + 1e-6


def test_a_call_larger_than_the_bucket_is_let_in_when_it_is_full_and_paid_off_afterwards():
    clock = Clock()
    bucket = TokenBucket("x", QUOTA, clock)
    bucket.take(300)
    with pytest.raises(QuotaExceeded) as caught:
        bucket.take(1)
    assert caught.value.retry_after == pytest.approx(20.1)
    bucket.correct(-290)  # the estimate was wrong
    bucket.take(90)


def test_who_a_client_is():
    key = KeySettings(name="a", sha256=digest_of(new_key()))
    callers = Callers(QUOTA)
    found = [
        callers.arrived(key, "CN=a", "10.0.0.1"),
        callers.arrived(None, "CN=a", "10.0.0.1"),
        callers.arrived(None, "", "10.0.0.1"),
        callers.arrived(None, "", ""),
    ]
    assert [one.id for one in found] == ["key a", "subject CN=a", "address 10.0.0.1", "anonymous"]
    assert [one.label for one in found] == ["a", "keyless", "keyless", "keyless"]
    assert callers.arrived(key, "", "10.0.0.2") is found[0]
    assert len({id(one.bucket) for one in found}) == 4
    for number in range(MOST_KNOWN + 10):
        callers.arrived(None, "", f"address {number}")
    assert len(callers._known) == MOST_KNOWN


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:5", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5", "%5B::1%5D"),
        ("ipv6:[2001:db8::1]:5", "[2001:db8::1]"),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_a_machine_is_one_client_over_all_its_connections(peer: str, host: str):
    assert host_of(peer) == host


async def test_beyond_it_a_call_is_refused_with_the_time_to_come_back(tmp_path: Path, capsys):
    file, keys = tmp_path / "keys.yaml", {}
    for name, more in (*QUOTAS.items(), ("free", [])):
        assert main(["keys", str(file), "add", f"name={name}", *more]) == 0
        keys[name] = capsys.readouterr().out.strip()
    large = text("", "x" * 100)  # 26 tokens
    async with serving(DIGITS, keys=str(file)) as running:

        def ask(name: str):
            return running.score(large, metadata=(("authorization", f"Bearer {keys[name]}"),))

        assert len((await ask("small")).results) == 1
        found = await failure(ask("small"))
        assert (found.code, found.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        (quota,) = (one for one in found.details if isinstance(one, details.QuotaFailure))
        assert [(one.subject, one.description) for one in quota.violations] == [("clients/small", "5 tokens a second")]
        (retry,) = (one for one in found.details if isinstance(one, details.RetryInfo))
        assert Duration() != retry.retry_delay
        for _ in range(5):
            assert len((await ask("free")).results) == 1
        item = ScoreItem(TextPair("", "x" * 100))
        async with AsyncRewardClient(running.server.address, api_key=keys["small"], timeout=1) as client:
            with pytest.raises(Refused) as caught:
                await client.score([item])
            assert 0 < caught.value.retry_after < 6
        began = time.monotonic()
        async with AsyncRewardClient(running.server.address, api_key=keys["quick"]) as client:
            for _ in range(3):
                assert len(await client.score([item])) == 1
        assert time.monotonic() - began > 0.4  # 78 tokens, of which 30 were there
        async with httpx.AsyncClient() as http:
            page = (await http.get(f"http://{running.server.http_address}/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("plaudit_reward_client"))
    assert lines['plaudit_reward_client_items_total{client="free"}'] == "5.0"
    assert lines['plaudit_reward_client_tokens_total{client="free"}'] == "130.0"
    assert "127.0.0.1" not in str(lines)


async def test_without_keys_each_address_has_the_servers_quota():
    async with serving(DIGITS, quota={"tokens_per_second": 1, "burst_tokens": 5}) as running:
        await running.score(text("", "1"))
        assert (await failure(running.score(text("", "x" * 100)))).reason == "RATE_LIMITED"
        assert await running.stub.ListModels(pb.ListModelsRequest())  # computes nothing
