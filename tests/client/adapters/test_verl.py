"""verl's custom reward function, called as verl 0.9.1's reward managers call it.

`get_custom_reward_fn` (trainer/ppo/reward.py) imports what `pkg://` names, and wraps it in a partial that adds the
reward_kwargs. `NaiveRewardManager.run_single` (experimental/reward_loop) calls that with keywords: data_source,
solution_str (decoded without special tokens), ground_truth, extra_info; with a reward model of verl's own also
reward_router_address and reward_model_tokenizer. The agent loop has put `raw_prompt` into extra_info. A coroutine
function is awaited in the actor's loop, a function runs in a thread of its executor; `remote` takes only the latter.
"""

import asyncio
import functools
import importlib
import inspect

import numpy as np
import pytest

from plaudit_client import Conversation, Message, ScoreItem, TextPair
from plaudit_client.adapters import NoScore
from plaudit_client.fake import FakeRewardServer
from plaudit_client.one_model import OtherModel

from .asking import length, model

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many?"}]
BOTH = pytest.mark.parametrize("name", ["compute_score", "compute_score_sync"])


class Manager:
    """Calls as verl does."""

    def __init__(self, name: str, **reward_kwargs: object) -> None:
        function = getattr(importlib.import_module("plaudit_client.verl"), name)
        self.function = functools.partial(function, **reward_kwargs)

    async def score(self, solution: str, **extra_info: object) -> float:
        said = {"data_source": "d", "solution_str": solution, "ground_truth": None, "extra_info": extra_info}
        if inspect.iscoroutinefunction(self.function):
            return await self.function(**said)
        return await asyncio.get_running_loop().run_in_executor(None, lambda: self.function(**said))


def test_verl_awaits_the_one_and_runs_the_other_in_a_thread():
    assert inspect.iscoroutinefunction(Manager("compute_score").function)
    assert not inspect.iscoroutinefunction(Manager("compute_score_sync").function)


@BOTH
async def test_a_response_is_scored_with_the_prompt_that_the_agent_loop_adds(name):
    """As numpy's array of objects, which is how rows of messages come out of a batch."""
    prompts = np.empty(2, dtype=object)
    prompts[:] = ASKED
    extra = {"index": 3, "num_turns": 2, "rollout_reward_scores": {}, "raw_prompt": prompts, "prompt": "of the data"}
    with FakeRewardServer(length) as server:
        found = await Manager(name, address=server.address, timeout_s=20).score("I count 12.", **extra)
        assert found == 11.0
        assert type(found) is float
        turns = (Message("system", "Be brief."), Message("user", "How many?"), Message("assistant", "I count 12."))
        assert server.requests == [(ScoreItem(Conversation(turns)),)]


@BOTH
async def test_the_data_set_may_hold_the_prompt_under_any_name(name):
    with FakeRewardServer(length) as server:
        await Manager(name, address=server.address).score("12", prompt="How many?")
        asked = Manager(name, address=server.address, prompt_key="question")
        await asked.score("12", question="How few?", raw_prompt=ASKED)
        assert [item.input for (item,) in server.requests] == [TextPair("How many?", "12"), TextPair("How few?", "12")]
        with pytest.raises(ValueError, match="extra_info has no question: put the prompt into the data set's"):
            await asked.score("12", prompt="How many?")
    with pytest.raises(ValueError, match="extra_info has no raw_prompt and no prompt"):
        await Manager(name, address=server.address).score("12")


@BOTH
async def test_many_are_asked_at_once_over_one_connection(name):
    """A worker of verl's has all samples of its batch under way."""
    with FakeRewardServer(length) as server:
        asked = Manager(name, address=server.address)
        found = await asyncio.gather(*(asked.score("r" * n, prompt="p") for n in range(200)))
        assert found == list(map(float, range(200)))


@BOTH
async def test_a_score_that_is_missing_raises(name):
    with FakeRewardServer(length) as server:
        with pytest.raises(NoScore, match=r"no score \(INPUT_TOO_LONG\): the input has 70 tokens") as raised:
            await Manager(name, address=server.address).score("too long", prompt="p")
        assert raised.value.reason == "INPUT_TOO_LONG"


@BOTH
async def test_scores_of_another_model_raise(name):
    with FakeRewardServer(length, model=model("1")) as server:
        asked = Manager(name, address=server.address)
        assert await asked.score("four", prompt="p") == 4.0
        server.model = model("2")
        with pytest.raises(OtherModel):
            await asked.score("four", prompt="p")


@BOTH
async def test_the_address_may_be_in_the_environment_and_verls_own_arguments_change_nothing(name, monkeypatch):
    with FakeRewardServer(length) as server:
        monkeypatch.setenv("PLAUDIT_REWARD_ADDRESS", server.address)
        own = {"reward_router_address": "127.0.0.1:8000", "reward_model_tokenizer": object()}
        assert await Manager(name, **own).score("four", prompt="p") == 4.0
    with pytest.raises(ValueError, match="PLAUDIT_REWARD_ADRESS is no setting"):
        await Manager(name, adress=server.address).score("four", prompt="p")
