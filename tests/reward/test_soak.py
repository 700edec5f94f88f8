"""A server under mixed load for a while: memory, descriptors and threads end where they were after the warm-up."""

import asyncio
import contextlib
import random
import statistics
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio
import psutil
import pytest

from plaudit.reward.rendering import Rendering
from plaudit_client import AsyncRewardClient, ScoreItem, TextPair

from . import http2, tiny_models
from .processes import Served, process
from .serving import DIGITS, RewardServiceStub, pb, text, until

SCORE = "/plaudit_protos.reward.v1.RewardService/Score"
CALLERS = 12
MIB = 1 << 20
GROWTH = 24
"""MiB: what 70 000 calls of which many are given up may scatter on the heap; grpcio leaks there (grpc/grpc#43360)."""


class Sample(NamedTuple):
    memory: float  # MiB
    descriptors: int
    threads: int


@pytest.mark.long
@pytest.mark.parametrize("seconds", [20, 300])
async def test_nothing_grows_under_mixed_load(tmp_path: Path, seconds: int):
    (tmp_path / "slow.py").write_text(
        "import time\ndef score(prompt, response):\n    time.sleep(0.02)\n    return float(response)\n"
    )
    models = [
        {"name": "m", "model": str(tiny_models.decoder(tmp_path / "m", Rendering(max_tokens=128)))},
        {"name": "slow", "callable": {"function": f"{tmp_path}/slow.py:score", "max_queue_items": 8}},
        DIGITS,
    ]
    with process(tmp_path / "server", models=models, threads=1, max_connection_age=2.0, log_level="ERROR") as server:
        samples = await watched_under_load(server, seconds)
        early, late = samples[len(samples) // 4 : len(samples) // 2], samples[-len(samples) // 4 :]
        print(f"\n{len(samples)} s; early {middle(early)}; late {middle(late)}; last {samples[-1]}")
        assert middle(late).memory - middle(early).memory < GROWTH
        assert middle(late).threads <= middle(early).threads + 2
        assert max(one.descriptors for one in late) <= 1.5 * max(one.descriptors for one in early)
        left = psutil.Process(server.process.pid)
        await until(lambda: left.num_fds() < 30, within=10)
        for gauge in (
            "inflight_requests",
            "queue_items",
            "queue_tokens",
        ):
            await until(lambda name=gauge: server.metric(f"plaudit_reward_{name}") == 0, within=10)
        print(f"{server.metric('plaudit_reward_requests_total'):.0f} requests")
        server.end()


async def watched_under_load(server: Served, seconds: int) -> list[Sample]:
    """One sample a second."""
    callers = [asyncio.create_task(misbehave(server, random.Random(seed))) for seed in range(CALLERS)]
    watched, samples = psutil.Process(server.process.pid), list[Sample]()
    for _ in range(seconds):
        await asyncio.sleep(1)
        samples.append(Sample(watched.memory_info().rss / MIB, watched.num_fds(), watched.num_threads()))
        assert not any(caller.done() for caller in callers)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    return samples


def middle(samples: list[Sample]) -> Sample:
    """The median of each."""
    return Sample(*(statistics.median(column) for column in zip(*samples, strict=True)))


async def misbehave(server: Served, chance: random.Random) -> None:
    """Calls of every kind in turn, each client on its own connection, and now and then a new one."""
    while True:
        async with (
            AsyncRewardClient(server.address) as client,
            grpc.aio.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)]) as channel,
        ):
            for _ in range(50):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await chance.choice(KINDS)(server, client, channel, chance)


async def scored(server: Served, client: AsyncRewardClient, channel: grpc.aio.Channel, chance: random.Random) -> None:
    items = [ScoreItem(TextPair("How many? " * chance.randrange(9), str(number))) for number in range(20)]
    assert len(await client.score(items)) == len(items)


async def refused(server: Served, client: AsyncRewardClient, channel: grpc.aio.Channel, chance: random.Random) -> None:
    """A queue that is full, a model that is not there, an input that is too long, a function that raises."""
    stub = RewardServiceStub(channel)
    for model, response in (("slow", "1"), ("nobody", "1"), ("m", "word " * 300), ("slow", "no number")):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await stub.Score(pb.ScoreRequest(model=model, items=[text("", response)] * 3))


async def given_up(server: Served, client: AsyncRewardClient, channel: grpc.aio.Channel, chance: random.Random) -> None:
    stub, items = RewardServiceStub(channel), [text("a prompt " * 5, str(number)) for number in range(20)]
    calls = [stub.Score(pb.ScoreRequest(items=items), timeout=chance.random() / 50) for _ in range(4)]
    await asyncio.sleep(chance.random() / 100)
    for call in calls[:2]:
        call.cancel()
    for call in calls:
        await call.code()


async def garbage(server: Served, client: AsyncRewardClient, channel: grpc.aio.Channel, chance: random.Random) -> None:
    await channel.unary_unary(SCORE)(chance.randbytes(chance.choice([9, 99, 5 * MIB])))


async def hung_up(server: Served, client: AsyncRewardClient, channel: grpc.aio.Channel, chance: random.Random) -> None:
    """In the middle of a call, or after a greeting."""
    connection = await http2.connect(server.address, window=chance.choice([0, None]), hello=chance.random() < 0.9)
    connection.call(SCORE, pb.ScoreRequest(items=[text("", "1")] * 50).SerializeToString())
    await asyncio.sleep(chance.random() / 100)
    connection.close()


KINDS = [scored, scored, refused, given_up, garbage, hung_up]
