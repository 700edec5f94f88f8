"""A function of the operator's, behind the service."""

import asyncio
import threading
import time
from pathlib import Path

import grpc.aio
import pytest
from google.rpc.code_pb2 import Code

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.function import find_function

from .serving import Running, failure, pb, scores, serving, take_apart, text

SOURCE = '''
import asyncio
import time

import numpy as np


def length(prompt, response):
    return len(response) - len(prompt)


def odd(prompt, response):
    """Does whatever the response says."""
    return {
        "nan": lambda: float("nan"),
        "text": lambda: "1.0",
        "none": lambda: None,
        "bool": lambda: True,
        "huge": lambda: 10**400,
        "numpy": lambda: np.float32(0.5),
        "raise": lambda: 1 / 0,
        "exit": lambda: exit(3),
        "hang": lambda: time.sleep(1.5),
    }[response]()


async def slow(prompt, response):
    await asyncio.sleep(float(response))
    return 1.0


async def blocking(prompt, response):
    time.sleep(float(response))
    return 1.0
'''


def model(folder: Path, function: str, **more) -> dict:
    path = folder / "rewards.py"
    path.write_text(SOURCE)
    return {"name": "mine", "callable": {"function": f"{path}:{function}", **more}}


async def outcomes(running: Running, *responses: str) -> list[str | float]:
    reply = await running.score(*(text("", response) for response in responses))
    return [
        take_apart(result.error).reason if result.WhichOneof("result") == "error" else result.score.score
        for result in reply.results
    ]


async def test_text_and_conversations_are_scored(tmp_path: Path):
    turns = [pb.Message(role="user", content="Hi"), pb.Message(role="assistant", content="Hello")]
    async with serving(model(tmp_path, "length")) as running:
        reply = await running.score(text("ab", "cdef"), pb.ScoreItem(conversation=pb.Conversation(messages=turns)))
        assert scores(reply) == [2, len("Hello") - len("\n\nHuman: Hi\n\nAssistant: ")]


async def test_what_is_no_number_and_what_raises_is_the_items_own_status(tmp_path: Path):
    async with serving(model(tmp_path, "odd")) as running:
        found = await outcomes(running, "nan", "text", "numpy", "none", "raise", "bool", "unknown", "huge")
    failed = "CALLABLE_FAILED"
    assert found == ["NONFINITE_SCORE", failed, 0.5, failed, failed, failed, failed, failed]


async def test_a_function_that_exits_does_not_take_the_server_with_it(tmp_path: Path):
    async with serving(model(tmp_path, "odd")) as running:
        assert (await outcomes(running, "exit", "numpy"))[1] == 0.5
        assert await outcomes(running, "numpy") == [0.5]


async def test_a_hung_call_fails_in_time_and_the_others_go_on(tmp_path: Path):
    async with serving(model(tmp_path, "odd", timeout=0.2, concurrency=2)) as running:
        began = time.monotonic()
        assert await outcomes(running, "hang", "numpy") == ["CALLABLE_FAILED", 0.5]
        assert time.monotonic() - began < 1.4
        assert running.server.catalog.beating(patience=0.05)


async def test_liveness_sees_that_every_place_is_held(tmp_path: Path):
    async with serving(model(tmp_path, "odd", timeout=0.2, concurrency=1)) as running:
        await outcomes(running, "hang")
        assert not running.server.catalog.beating(patience=0.05)
        assert running.server.catalog.beating(patience=60)


async def test_async_functions_run_side_by_side_and_are_ended_at_their_time(tmp_path: Path):
    async with serving(model(tmp_path, "slow", timeout=1, concurrency=8)) as running:
        began = time.monotonic()
        assert await outcomes(running, *["0.3"] * 8, "30") == [1.0] * 8 + ["CALLABLE_FAILED"]
        assert time.monotonic() - began < 2.5


async def test_liveness_sees_an_async_function_that_blocks_its_loop(tmp_path: Path):
    async with serving(model(tmp_path, "blocking", timeout=0.2, concurrency=2)) as running:
        assert await outcomes(running, "1.5", "0") == ["CALLABLE_FAILED"] * 2
        assert not running.server.catalog.beating(patience=0.05)
        assert scores(await running.score(text("", "0"), timeout=20)) == [1]  # places are free once the loop is
        assert running.server.catalog.beating(patience=0.05)


async def test_a_full_queue_says_when_to_come_back(tmp_path: Path):
    async with serving(model(tmp_path, "slow", concurrency=1, max_queue_items=2)) as running:
        busy = asyncio.ensure_future(running.score(text("", "0.5"), text("", "0")))
        await asyncio.sleep(0.2)
        found = await failure(running.score(text("", "0")))
        assert (found.code, found.reason) == (Code.UNAVAILABLE, "QUEUE_FULL")
        assert found.details[1].retry_delay.ToTimedelta().total_seconds() > 0
        assert scores(await busy) == [1, 1]
        assert scores(await running.score(text("", "0"))) == [1]


async def test_a_call_given_up_frees_its_place(tmp_path: Path):
    async with serving(model(tmp_path, "slow", concurrency=1, max_queue_items=1)) as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # whichever clock is first, the caller's or the server's
            await running.score(text("", "20"), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert scores(await running.score(text("", "0"), timeout=5, wait_for_ready=True)) == [1]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("no/such/file.py:score", "no file"),
        ("no_such_module:score", "ModuleNotFoundError"),
        ("json:no_such_function", "no function"),
        ("BROKEN:score", "SyntaxError"),
    ],
)
def test_a_function_that_is_not_there_is_one_line(tmp_path: Path, spec: str, problem: str):
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(ConfigurationError, match=problem):
        find_function(spec.replace("BROKEN", str(tmp_path / "broken.py")))


def test_a_module_is_found_by_name():
    assert find_function("threading:get_ident") is threading.get_ident
