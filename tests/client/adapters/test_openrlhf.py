"""OpenRLHF's reward function in a file, loaded and called as OpenRLHF 0.11.2 does.

`SingleTurnAgentExecutor` (utils/agent.py) executes the file that `--reward.remote_url` names, and calls its
`reward_func([query], [prompt], [label])` in a thread for each sample, hundreds at a time. `samples_generator.py` makes
`torch.tensor([reward])` of `rewards` and `scores`, and of each of `extra_logs` its first element's.
"""

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import torch

from plaudit_client import ScoreItem, TextPair
from plaudit_client.adapters import NoScore
from plaudit_client.fake import FakeRewardServer
from plaudit_client.one_model import OtherModel

from .asking import length, model

QUERY, PROMPT = "<s>How many? I count 12.</s>", "How many?"


@pytest.fixture(scope="module")
def path() -> str:
    printed = subprocess.run(
        [sys.executable, "-m", "plaudit_client.openrlhf"], capture_output=True, text=True, timeout=60
    )
    assert (printed.returncode, printed.stderr) == (0, "")
    return printed.stdout.strip()


@pytest.fixture
def loaded(path, monkeypatch):
    """The module, with these settings in the environment."""

    def load(address: str, **settings: str) -> ModuleType:
        monkeypatch.setenv("PLAUDIT_REWARD_ADDRESS", address)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("reward_func", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_command_prints_the_file_that_openrlhf_loads(path):
    assert path.endswith("plaudit_client/openrlhf.py")
    assert Path(path).is_file()


def test_a_query_is_its_prompt_and_what_follows(loaded):
    with FakeRewardServer(length) as server:
        found = loaded(server.address).reward_func([QUERY], [PROMPT], [None])
        assert server.requests == [(ScoreItem(TextPair(PROMPT, " I count 12.</s>")),)]
    assert torch.tensor([found["rewards"]]).tolist() == torch.tensor([found["scores"]]).tolist() == [16.0]
    assert found["rewards"].dtype == torch.float32
    assert {name: log.flatten()[0].item() for name, log in found["extra_logs"].items()} == {
        "input_tokens": 0.0,
        "truncated_tokens": 0.0,
    }


def test_with_the_policys_eos_known_a_response_is_finished_or_was_cut(loaded):
    with FakeRewardServer(length) as server:
        reward_func = loaded(server.address, PLAUDIT_OPENRLHF_EOS="</s>").reward_func
        found = reward_func([QUERY, "<s>How many? I count"], [PROMPT, PROMPT], ["12", None])
        assert found["rewards"].tolist() == [12.0, 8.0]
        assert server.requests == [
            (
                ScoreItem(TextPair(PROMPT, " I count 12."), finish_reason="stop"),
                ScoreItem(TextPair(PROMPT, " I count"), finish_reason="length"),
            )
        ]


def test_many_threads_ask_at_once(loaded):
    async def many(reward_func) -> list[dict[str, torch.Tensor]]:
        queries = ["p" + "r" * n for n in range(100)]
        return await asyncio.gather(*(asyncio.to_thread(reward_func, [query], ["p"], [None]) for query in queries))

    with FakeRewardServer(length) as server:
        found = asyncio.run(many(loaded(server.address).reward_func))
    assert [one["rewards"].item() for one in found] == list(map(float, range(100)))


@pytest.mark.parametrize(
    ("before", "prompt", "response"),
    [
        ("<s>", "s", " yes, s"),
        ("<s> ", "How many?", " 12"),
        ("[CLS] ", "C", " C"),
        ("[gMASK]<sop>", "g", "g"),
        ("<|begin_of_text|>", "<|begin_of_text|>be", "gin"),
        ("<\N{FULLWIDTH VERTICAL LINE}begin\N{LOWER ONE EIGHTH BLOCK}of>", "in", "in"),
        ("", "of", "of course"),
    ],
)
def test_the_response_begins_behind_the_prompt_and_not_within_what_is_before_it(loaded, before, prompt, response):
    with FakeRewardServer(length) as server:
        loaded(server.address).reward_func([before + prompt + response], [prompt], [None])
        assert server.requests == [(ScoreItem(TextPair(prompt, response)),)]


@pytest.mark.parametrize(("query", "prompt"), [("<s>< yes", "<"), ("<s><s> yes", "<s>"), ("[1][1]", "[1]")])
def test_a_prompt_that_may_be_the_special_token_or_what_is_behind_it_is_not_guessed_at(loaded, query, prompt):
    with FakeRewardServer(length) as server, pytest.raises(ValueError, match="begins with its prompt in two ways"):
        loaded(server.address).reward_func([query], [prompt], [None])


@pytest.mark.parametrize("query", ["many? 12", "<s>many? 12", "< How many? 12", "<s>Well. How many? 12", "How many"])
def test_a_query_without_its_prompt_is_not_guessed_at(loaded, query):
    """OpenRLHF cuts the head of a prompt that leaves no room for a response, which may say the prompt again."""
    with FakeRewardServer(length) as server, pytest.raises(ValueError, match="the query does not begin with its prom"):
        loaded(server.address).reward_func([query], [PROMPT], [None])


def test_without_prompts_all_of_a_query_is_the_response(loaded):
    with FakeRewardServer(length) as server:
        loaded(server.address).reward_func(["a query"], [""], [None])
        assert server.requests == [(ScoreItem(TextPair("", "a query")),)]


def test_a_score_that_is_missing_raises(loaded):
    with FakeRewardServer(length) as server, pytest.raises(NoScore, match="INPUT_TOO_LONG"):
        loaded(server.address).reward_func(["p12", "ptoo long"], ["p", "p"], [None, None])


def test_scores_of_another_model_raise(loaded):
    with FakeRewardServer(length, model=model("1")) as server:
        reward_func = loaded(server.address).reward_func
        reward_func(["p12"], ["p"], [None])
        server.model = model("2")
        with pytest.raises(OtherModel):
            reward_func(["p12"], ["p"], [None])


def test_a_mistake_in_the_settings_ends_the_run_where_the_file_is_loaded(loaded):
    """What it raised later, OpenRLHF would log and go on with no reward."""
    with pytest.raises(ValueError, match="no reward server is named: set PLAUDIT_REWARD_ADDRESS to its host:port"):
        loaded("")
    with pytest.raises(ValueError, match="PLAUDIT_REWARD_TLSCA is no setting"):
        loaded("x:1", PLAUDIT_REWARD_TLSCA="ca.crt")


def test_a_model_with_a_plain_rendering_reads_what_it_reads_over_http(server, loaded):
    """BOS and EOS that the policy wrote are there once, whoever brings them."""
    body = {"query": [QUERY], "prompts": [PROMPT], "labels": [None]}
    told = httpx.post(f"http://{server.forms_address}/get_reward", json=body, timeout=20).json()
    for settings in ({}, {"PLAUDIT_OPENRLHF_EOS": "</s>"}):
        found = loaded(server.address, **settings).reward_func([QUERY], [PROMPT], [None])
        assert found["rewards"].tolist() == [pytest.approx(told["rewards"][0], rel=1e-5, abs=1e-5)]
        assert found["extra_logs"]["input_tokens"].tolist() == told["extra_logs"]["input_tokens"]
