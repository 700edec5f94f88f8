"""A round beside those before it: the same prompts, each response scored once by this round's reward model."""

import json
from pathlib import Path
from typing import Any

from plaudit.iteration.comparing import compare
from plaudit.reward_server.asking import RewardServerSettings
from plaudit_client import ScoreItem, TextPair
from plaudit_client.fake import FakeRewardServer

from .runs import ended_round, plan, rows


def length(item: ScoreItem) -> float:
    assert isinstance(item.input, TextPair)
    return float(len(item.input.response))


def compared(tmp_path: Path, number: int) -> tuple[dict[str, Any], list[str]]:
    """The figures of that round, whose reward model likes what is long; and the responses that it was asked about."""
    with FakeRewardServer(length) as gold, FakeRewardServer(length) as proxy:
        label, evaluate = {"model": {"address": gold.address}}, {"gold": {"address": gold.address}}
        prompts = {"prompts": {"source": str(tmp_path / "held_out.jsonl")}}
        found = plan(tmp_path, rounds=2, label=label, evaluate=prompts | evaluate)
        for earlier in range(number):
            ended_round(found, earlier, response=f"round {earlier}{'!' * earlier}")
        answers = (
            {"id": f"{i}/0", "prompt_id": str(i), "prompt": f"a dog {i}", "response": f"longest answer {i}", "kl": 0.1,
             "finish_reason": "stop"}
            for i in range(4)
        )  # fmt: skip
        rows(found.round(number) / "responses.jsonl", *answers)
        compare(found, number, RewardServerSettings(address=proxy.address))
        asked = [item.input.response for items in proxy.requests for item in items if isinstance(item.input, TextPair)]
    return json.loads((found.round(number) / "evaluation.json").read_text()), asked


def test_the_first_round_is_compared_with_one_policy_that_is_both_and_asked_about_once(tmp_path: Path) -> None:
    figures, asked = compared(tmp_path, 1)
    assert sorted(asked) == [f"longest answer {i}" for i in range(4)] + [f"round 0 {i}" for i in range(4)]
    assert figures["score_gain"]["first"] == figures["score_gain"]["previous"]
    assert figures["score_gain"]["first"]["value"] == len("longest answer") - len("round 0")


def test_a_later_round_is_compared_with_two(tmp_path: Path) -> None:
    figures, asked = compared(tmp_path, 2)
    assert len(asked) == 12
    assert figures["score_gain"]["first"]["value"] == figures["score_gain"]["previous"]["value"] + 1
