"""trl's reward function, called as trl 1.16 does: keywords only, in the event loop of a thread."""

import asyncio
import copy
import logging
import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait

import pytest
from trl.trainer.utils import get_callable_name, is_async_callable

from plaudit_client import (
    Conversation,
    Message,
    ModelNotFound,
    ScoreItem,
    ServerUnavailable,
    TextPair,
    Tls,
)
from plaudit_client.fake import FakeRewardServer
from plaudit_client.one_model import OtherModel
from plaudit_client.trl import RewardFunction, TooManyMissing

from .asking import ask, length, model

NOBODY = "127.0.0.1:1"
AS_TRL_RUNS_IT = """
import asyncio, sys, threading
from plaudit_client.trl import RewardFunction
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
reward = RewardFunction(sys.argv[1])
print(asyncio.run_coroutine_threadsafe(reward(prompts=["p"], completions=["four"]), loop).result())
"""


def test_trl_takes_it_for_a_coroutine_function_with_a_name():
    assert is_async_callable(RewardFunction(NOBODY))
    assert get_callable_name(RewardFunction(NOBODY)) == "plaudit"
    assert get_callable_name(RewardFunction(NOBODY, name="helpfulness")) == "helpfulness"


def test_texts_and_messages_are_sent_as_they_are_and_what_else_trl_gives_changes_nothing():
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "p"}]
    others = {"model": ["a"], "label": [None], "trainer_state": object(), "log_extra": print, "environments": None}
    with FakeRewardServer(length) as server:
        reward = RewardFunction(server.address)
        assert asyncio.run(reward(prompts=["p"], completions=[" four"], completion_ids=[[1]], **others)) == [5.0]
        said = [{"role": "assistant", "content": "four"}]
        assert asyncio.run(reward(prompts=[asked], completions=[said], **others)) == [4.0]
        turns = (Message("system", "Be brief."), Message("user", "p"), Message("assistant", "four"))
        assert server.requests == [(ScoreItem(TextPair("p", " four")),), (ScoreItem(Conversation(turns)),)]


def test_how_a_completion_ended_is_read_from_its_ids():
    with FakeRewardServer(length) as server:
        reward = RewardFunction(server.address, eos_token_ids=[2, 9])
        ask(reward, "a", "b", "c", "d", completion_ids=[[5, 2], [2, 5], [9], []])
        assert [item.finish_reason for item in server.requests[0]] == ["stop", "length", "stop", "length"]
        ask(reward, "a")
        ask(RewardFunction(server.address), "a", completion_ids=[[5, 2]])
        assert [item.finish_reason for items in server.requests[1:] for item in items] == [None, None]


def test_what_has_no_score_is_none_and_is_told_without_its_text(caplog):
    told = []
    with FakeRewardServer(length) as server, caplog.at_level(logging.WARNING):
        reward = RewardFunction(server.address)
        assert ask(reward, "four", "too long", "", log_metric=lambda *metric: told.append(metric)) == [4.0, None, 0.0]
        assert ask(reward, "four", log_metric=lambda *metric: told.append(metric)) == [4.0]
    assert told == [("rewards/plaudit/missing_ratio", pytest.approx(1 / 3)), ("rewards/plaudit/missing_ratio", 0.0)]
    assert [record.getMessage() for record in caplog.records] == ["1 of 3 completions have no score (INPUT_TOO_LONG 1)"]


def test_a_message_that_is_no_text_has_no_score():
    picture = [{"role": "user", "content": [{"type": "image", "image": object()}]}]
    text = [{"role": "user", "content": "p"}]
    call = [{"role": "assistant", "tool_calls": []}]
    said = [{"role": "assistant", "content": "four"}]
    with FakeRewardServer(length) as server:
        reward = RewardFunction(server.address)
        found = asyncio.run(reward(prompts=[picture, text, text], completions=[said, call, said]))
    assert found == [None, None, 4.0]


def test_too_many_of_the_last_without_a_score_raise_and_are_counted():
    """64 of 128 is half, and one more is too many, however they came."""
    few, all_at_once = ["too long"] * 2, ["four"] * 71 + ["too long"] * 73
    with FakeRewardServer(length) as server:
        reward = RewardFunction(server.address)
        assert [ask(reward, *few) for _ in range(32)] == [[None, None]] * 32
        with pytest.raises(
            TooManyMissing, match=r"last, 66 of 66 completions have .*_ratio=0.5 allows 64 of 128"
        ) as raised:
            ask(reward, *few)
        assert raised.value.metadata == {"INPUT_TOO_LONG": "66"}
        with pytest.raises(TooManyMissing, match=r"last, 73 of 144 completions have .*_ratio=0.5 allows 72 of 144"):
            ask(RewardFunction(server.address), *all_at_once)
        assert ask(RewardFunction(server.address), *all_at_once[:-2]).count(None) == 71


def test_one_overlong_text_ends_no_run_of_many_processes_which_score_one_or_two_each():
    """trl brings the ranks' rewards together behind the functions: each has but its own."""
    with FakeRewardServer(length) as server:
        reward = RewardFunction(server.address)
        assert ask(reward, "too long") == [None]
        assert ask(copy.deepcopy(reward), "too long", "too long") == [None, None]


def test_what_lacked_its_score_long_ago_counts_no_more():
    with FakeRewardServer(length) as server:
        reward = RewardFunction(server.address)
        for _ in range(3):
            ask(reward, *["too long"] * 60)
            assert ask(reward, *["four"] * 128) == [4.0] * 128
        ask(reward, *["too long"] * 60)
        with pytest.raises(TooManyMissing, match="65 of 128"):
            ask(reward, *["too long"] * 5)


def test_none_may_lack_its_score_or_all_if_that_is_asked_for():
    with FakeRewardServer(length) as server:
        with pytest.raises(TooManyMissing, match=r"last, 1 of 4 completions .*_ratio=0 allows 0 of 128"):
            ask(RewardFunction(server.address, max_missing_ratio=0), "a", "b", "c", "too long")
        lenient = RewardFunction(server.address, max_missing_ratio=1)
        assert [ask(lenient, *["too long"] * 100) for _ in range(2)] == [[None] * 100] * 2


def test_when_nobody_answers_it_raises_or_has_no_score_if_all_may_lack_theirs():
    with pytest.raises(ServerUnavailable):
        ask(RewardFunction(NOBODY, timeout=0.5), "a")
    told = []
    lenient = RewardFunction(NOBODY, timeout=0.5, max_missing_ratio=1)
    assert ask(lenient, "a", "b", log_metric=lambda *metric: told.append(metric)) == [None, None]
    assert told == [("rewards/plaudit/missing_ratio", 1.0)]


def test_what_another_step_would_meet_again_always_raises():
    with FakeRewardServer(length) as server, pytest.raises(ModelNotFound):
        ask(RewardFunction(server.address, model="models/other", max_missing_ratio=1), "a")
    with pytest.raises(FileNotFoundError):
        RewardFunction(NOBODY, tls=Tls(ca="no/such/file"))
    with pytest.raises(ValueError, match="API key"):
        RewardFunction(NOBODY, api_key="")


def test_a_server_that_comes_back_costs_time_and_nothing_else():
    """More tries than a client has that isn't patient, and more calls at once than its budget has retries."""
    with FakeRewardServer(length) as server:
        port = int(server.address.rpartition(":")[2])
    reward = RewardFunction(f"127.0.0.1:{port}", timeout=30)

    async def many() -> list[list[float | None]]:
        return await asyncio.gather(*(reward(prompts=["p"], completions=["four"]) for _ in range(40)))

    with ThreadPoolExecutor() as thread:
        asked = thread.submit(asyncio.run, many())
        time.sleep(2)
        assert not asked.done()
        with FakeRewardServer(length, port=port):
            assert asked.result(20) == [[4.0]] * 40


def test_another_model_behind_the_address_ends_the_run():
    """Its scores are on another scale."""
    with FakeRewardServer(length, model=model("1")) as server:
        reward = RewardFunction(server.address)
        assert ask(reward, "four") == [4.0]
        server.model = model("2")
        for one in (reward, copy.deepcopy(reward)):
            with pytest.raises(OtherModel, match="rewards of models/fake/versions/1, and the server has that no more"):
                ask(one, "four")
        server.model = model("1")
        assert ask(reward, "four") == [4.0]


def test_a_call_under_way_while_another_model_answered_first_ends_the_run():
    """It was asked by the name that has moved since."""
    first, moved = threading.Event(), threading.Event()

    def slow(item: ScoreItem) -> float:
        if item.input.response == "slow":
            first.set()
            assert moved.wait(10)
        return 1.0

    with FakeRewardServer(slow, model=model("1")) as server, ThreadPoolExecutor(1) as thread:
        reward = RewardFunction(server.address)
        other = thread.submit(ask, reward, "slow")
        assert first.wait(10)
        assert ask(reward, "fast") == [1.0]
        server.model = model("2")
        moved.set()
        with pytest.raises(OtherModel, match="answers with models/fake/versions/2 now, this run has rewards of "):
            other.result(10)


def test_it_is_asked_from_one_event_loop_after_another_and_from_several_at_once():
    with FakeRewardServer(length) as server, ThreadPoolExecutor(4) as threads:
        reward = RewardFunction(server.address)
        assert [ask(reward, "four") for _ in range(3)] == [[4.0]] * 3
        together = threading.Barrier(4)
        found = threads.map(lambda n: (together.wait(10), ask(reward, "r" * n))[1], range(4))
        assert list(found) == [[0.0], [1.0], [2.0], [3.0]]


def test_a_loop_that_begins_to_ask_while_closed_ones_are_forgotten_keeps_its_connection():
    with Peers(length) as server, ThreadPoolExecutor(1) as thread:
        reward, first, other = RewardFunction(server.address), Looked(), asyncio.new_event_loop()
        asked(first, reward)
        first.on_look = lambda: wait([thread.submit(asked, other, reward)], timeout=1)
        ask(reward, "four")
        thread.submit(asked, other, reward).result(10)
        assert len(server.peers) == 4
        assert len(set(server.peers)) == 3
        for loop in (first, other):
            loop.close()


class Peers(FakeRewardServer):
    """Writes down which connection asked."""

    def __init__(self, score):
        self.peers = []
        super().__init__(score)

    def Score(self, request, context):  # noqa: N802
        self.peers.append(context.peer())
        return super().Score(request, context)


class Looked(asyncio.SelectorEventLoop):
    """Tells, once, when somebody looks whether it is closed."""

    on_look = None

    def is_closed(self) -> bool:
        told, self.on_look = self.on_look, None
        if told is not None:
            told()
        return super().is_closed()


def asked(loop: asyncio.AbstractEventLoop, reward: RewardFunction) -> None:
    loop.run_until_complete(reward(prompts=["p"], completions=["four"]))


def test_copies_ask_too_here_and_in_another_process():
    """trl's asynchronous trainer sends it to the process of its rollouts."""
    with FakeRewardServer(length) as server:
        reward = RewardFunction(server.address, eos_token_ids=[2], name="mine", model="models/fake")
        assert ask(reward, "four") == [4.0]  # with a connection by now
        assert ask(copy.deepcopy(reward), "four") == [4.0]
        spawned = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        with spawned as process:
            assert process.submit(ask, reward, "four", completion_ids=[[1]]).result(60) == [4.0]
        assert server.requests[-1][0].finish_reason == "length"


def test_a_program_ends_in_silence_though_nobody_closes_it():
    with FakeRewardServer(length) as server:
        command = [sys.executable, "-c", AS_TRL_RUNS_IT, server.address]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[4.0]\n", "")
