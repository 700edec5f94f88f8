"""Rewards over the wire: a real server on loopback, and what happens where a score is missing."""

import dataclasses
import statistics
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from plaudit.errors import ConfigurationError, DependencyUnreachable, RunFailed, WouldEndAgain
from plaudit.trainer.scoring import RemoteScorer
from plaudit.trainer.settings import RewardSettings
from plaudit.trajectory import Message, Prompt, RolloutRequest, Trajectory
from plaudit_client import Conversation, ScoreFailure, ScoreItem, TextPair
from plaudit_client.fake import FakeRewardServer
from tests.reward.processes import process as served


def trajectory(response: str, prompt: Prompt | None = None, finish: str = "stop") -> Trajectory:
    request = RolloutRequest(prompt or Prompt(response, (1,), text="question"))
    return Trajectory(request, (5,), response, np.zeros(1, np.float32), finish, 0)  # type: ignore[arg-type]


def length(item: ScoreItem) -> float:
    assert isinstance(item.input, TextPair)
    return float(len(item.input.response))


def scorer(server: FakeRewardServer, max_missing_ratio: float = 0.0) -> RemoteScorer:
    return RemoteScorer({"reward": RewardSettings(address=server.address, timeout_s=5.0)}, max_missing_ratio)


def test_scores_come_back_in_order_with_their_model() -> None:
    with FakeRewardServer(length) as server:
        scored = scorer(server).score([trajectory("a"), trajectory(""), trajectory("abc")])
    assert [one.score for one in scored if one] == [1.0, 0.0, 3.0]


def test_the_server_sees_text_conversation_and_finish_reason() -> None:
    chat = Prompt("c", (1,), messages=(Message("system", "s"), Message("user", "u")))
    with FakeRewardServer(lambda item: 1.0) as server:
        scorer(server).score([trajectory("yes", finish="length"), trajectory("no", chat)])
        text, conversation = (item for request in server.requests for item in request)
    assert text.input == TextPair("question", "yes")
    assert text.finish_reason == "length"
    assert isinstance(conversation.input, Conversation)
    assert [turn.content for turn in conversation.input.messages] == ["s", "u", "no"]


def fail_short(item: ScoreItem) -> float | ScoreFailure:
    if length(item) < 2:
        return ScoreFailure(item.item_id, "NONFINITE_SCORE", "not a number", "INTERNAL")
    return length(item)


def test_a_missing_score_is_none_and_counted_never_a_number() -> None:
    with FakeRewardServer(fail_short) as server:
        one = scorer(server, max_missing_ratio=0.5)
        scored = one.score([trajectory("a"), trajectory("ab"), trajectory("abc")])
    assert [found.score if found else None for found in scored] == [None, 2.0, 3.0]
    assert one.missing == {"NONFINITE_SCORE": 1}


def test_past_the_threshold_the_run_stops() -> None:
    with FakeRewardServer(fail_short) as server, pytest.raises(RunFailed, match=r"2 of 3 .*NONFINITE_SCORE 2"):
        scorer(server, max_missing_ratio=0.5).score([trajectory("a"), trajectory("b"), trajectory("abc")])


def test_a_short_outage_is_retried() -> None:
    with FakeRewardServer(length) as server:
        server.unavailable(2, retry_after=0.01)
        assert scorer(server).score([trajectory("ab")])[0] is not None


def test_no_server_ends_in_one_clear_line() -> None:
    lonely = RemoteScorer({"reward": RewardSettings(address="127.0.0.1:1", startup_timeout_s=0.3)}, 0.0)
    with pytest.raises(
        DependencyUnreachable, match=r"not ready after 0\.3 s: reward server 127\.0\.0\.1:1.*plaudit serve"
    ):
        lonely.wait_until_ready()


def test_an_unknown_model_is_a_mistake_in_the_settings() -> None:
    with FakeRewardServer(length) as server:
        wrong = RemoteScorer({"reward": RewardSettings(address=server.address, model="models/none")}, 0.0)
        with pytest.raises(ConfigurationError, match="models/none"):
            wrong.wait_until_ready()


def test_a_server_that_stays_away_ends_the_run_as_unreachable() -> None:
    with FakeRewardServer(length) as server:
        settings = RewardSettings(address=server.address, timeout_s=0.3, startup_timeout_s=0.3)
        one = RemoteScorer({"reward": settings}, 0.5)
        assert one.score([trajectory("ab")])[0] is not None
        server.unavailable(10_000)
        with pytest.raises(DependencyUnreachable, match=r"reward\.timeout_s"):
            one.score([trajectory("ab")])


def test_rewards_of_another_model_end_the_run() -> None:
    with FakeRewardServer(length) as server:
        one = scorer(server)
        one.score([trajectory("ab")])
        other = dataclasses.replace(server.model.provenance, name="models/fake/versions/2")
        server.model = dataclasses.replace(server.model, provenance=other)
        with pytest.raises(RunFailed, match=r"answers with models/fake/versions/2 now.*of models/fake/versions/1"):
            one.score([trajectory("ab")])


def test_a_run_keeps_the_version_that_it_began_with() -> None:
    with FakeRewardServer(length) as server:
        one = scorer(server)
        assert one.wait_until_ready()["reward"].name == "models/fake/versions/1"
        server.model = dataclasses.replace(server.model, name="models/fake/versions/2")
        with pytest.raises(WouldEndAgain, match=r"rewards of models/fake/versions/1, and the server has that no more"):
            one.score([trajectory("ab")])
        one.close()


def test_several_services_add_up_by_weight_and_each_is_reported() -> None:
    with FakeRewardServer(length) as long, FakeRewardServer(lambda item: -1.0) as flat:
        rewards = {
            "reward": RewardSettings(address=long.address, weight=2.0),
            "flat": RewardSettings(address=flat.address, weight=0.5),
        }
        models = RemoteScorer(rewards, 0.0).wait_until_ready()
        scored = RemoteScorer(rewards, 0.0).score([trajectory("a"), trajectory("abc")])
    assert list(models) == ["reward", "flat"]
    assert [one.score for one in scored if one] == [2.0 - 0.5, 6.0 - 0.5]
    assert [one.parts for one in scored if one] == [
        {"score_reward": 1.0, "score_flat": -1.0},
        {"score_reward": 3.0, "score_flat": -1.0},
    ]


def test_one_service_without_a_score_is_no_reward() -> None:
    """The others' sum would be a number on another scale."""
    with FakeRewardServer(length) as long, FakeRewardServer(fail_short) as picky:
        rewards = {"reward": RewardSettings(address=long.address), "more": RewardSettings(address=picky.address)}
        one = RemoteScorer(rewards, 0.5)
        scored = one.score([trajectory("a"), trajectory("ab")])
    assert [found.score if found else None for found in scored] == [None, 4.0]
    assert one.missing == {"NONFINITE_SCORE": 1}


def test_services_are_asked_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)

    def together(item: ScoreItem) -> float:
        meeting.wait()
        return 1.0

    with FakeRewardServer(together) as one, FakeRewardServer(together) as other:
        rewards = {"reward": RewardSettings(address=one.address), "more": RewardSettings(address=other.address)}
        assert RemoteScorer(rewards, 0.0).score([trajectory("a")])[0] is not None


KEYWORD = {"name": "sheep", "rule": {"kind": "keyword", "word": "sheep"}}
DIGITS = {"name": "digits", "rule": {"kind": "digits"}}
ENSEMBLE = {"name": "both", "ensemble": {"members": ["digits", "sheep"]}}


def test_pessimism_takes_deviations_off_an_ensembles_mean(tmp_path: Path) -> None:
    with served(tmp_path / "served", models=[ENSEMBLE, DIGITS, KEYWORD]) as server:
        plain, doubtful = (
            RemoteScorer({"reward": RewardSettings(address=server.address, pessimism=k)}, 0.0) for k in (0.0, 1.5)
        )
        doubtful.wait_until_ready()
        answers = [trajectory("12 sheep"), trajectory("sheep")]
        mean = [one.score for one in plain.score(answers) if one]
        found = [one for one in doubtful.score(answers) if one]
    deviations = [statistics.stdev(pair) for pair in ((0.2, 1.0), (-0.2, 1.0))]
    assert mean == pytest.approx([0.6, 0.4])
    assert [one.score for one in found] == pytest.approx([0.6 - 1.5 * deviations[0], 0.4 - 1.5 * deviations[1]])
    assert [one.parts for one in found] == [{"disagreement_reward": pytest.approx(one)} for one in deviations]


def test_pessimism_about_a_single_model_is_refused() -> None:
    with FakeRewardServer(length) as server:
        one = RemoteScorer({"reward": RewardSettings(address=server.address, pessimism=1.0)}, 0.0)
        with pytest.raises(ConfigurationError, match=r"pessimism needs an ensemble, and models/fake/versions/1"):
            one.wait_until_ready()


def test_what_is_waited_for_can_be_given_up() -> None:
    class Enough(Exception):
        pass

    def enough() -> None:
        raise Enough

    go = threading.Event()
    with FakeRewardServer(lambda item: float(go.wait(20))) as server:
        one = scorer(server)
        one.on_wait = enough
        began = time.monotonic()
        with pytest.raises(Enough):
            one.score([trajectory("a")])
        assert time.monotonic() - began < 5
        go.set()
        one.close()


def test_rewards_are_of_the_model_that_was_there_at_the_start() -> None:
    with FakeRewardServer(length) as server:
        one = scorer(server)
        one.wait_until_ready()
        other = dataclasses.replace(server.model.provenance, name="models/fake/versions/2")
        server.model = dataclasses.replace(server.model, provenance=other)
        with pytest.raises(RunFailed, match="of models/fake/versions/1"):
            one.score([trajectory("ab")])
