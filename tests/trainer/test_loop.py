"""One step of the loop, in this process: a real learner and real generation, a scorer of arithmetic."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from plaudit.errors import RunFailed
from plaudit.policy.generation import generate
from plaudit.policy.loading import load_causal_lm, load_tokenizer
from plaudit.policy.settings import PolicySettings
from plaudit.policy.weights import load_into, unpack
from plaudit.ppo.kl import AdaptiveKL
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.scores import ScoreShaper
from plaudit.ppo.settings import KLSettings, PPOSettings
from plaudit.trainer.loop import Loop, TooFarFromReference
from plaudit.trainer.prompts import PromptStream
from plaudit.trainer.synchronous import SynchronousRollouts
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, ScoredTrajectory, Trajectory, Weights
from tests.policy.tiny import tiny_llama

EIGHT = [Prompt(str(i), (1, 5 + i, 7), text=f"prompt {i}") for i in range(8)]
SAMPLING = Sampling(max_new_tokens=6, temperature=1.0, stop_token_ids=(2,), run_seed=0)


class HerePool:
    """Generates in this process."""

    def __init__(self, policy: PolicySettings) -> None:
        self.model, self.tokenizer = load_causal_lm(policy), load_tokenizer(policy)
        self.version = 0

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling) -> list[Trajectory]:
        return generate(self.model, requests, sampling, 0, self.version, self.tokenizer)

    def set_weights(self, version: int, weights: Weights) -> None:
        load_into(self.model, weights)
        self.version = version

    def close(self) -> None:
        pass


class LengthScorer:
    """A token is worth 0.1; the first `missing` trajectories get no score."""

    def __init__(self, missing: int = 0) -> None:
        self.missing = missing

    def score(self, trajectories: Sequence[Trajectory]) -> list[ScoredTrajectory | None]:
        scored = [ScoredTrajectory(one, len(one.response_ids) / 10) for one in trajectories]
        return [None] * self.missing + scored[self.missing :]


@pytest.fixture
def policy(tmp_path: Path) -> PolicySettings:
    return PolicySettings(model=str(tiny_llama(tmp_path / "policy")))


def make_loop(policy: PolicySettings, missing: int = 0, **ppo: object) -> Loop:
    settings = PPOSettings(**{"learning_rate": 1e-3, "epochs": 2, **ppo})  # type: ignore[arg-type]
    return Loop(
        SynchronousRollouts(PromptStream(EIGHT, 8, 1, seed=0), HerePool(policy), LengthScorer(missing), SAMPLING),
        LocalLearner(policy, settings, 1.0, 0), AdaptiveKL(0.1, 1.0, 100), ScoreShaper(settings.scores), settings,
        0, steps=4,
    )  # fmt: skip


def test_a_step_does_what_the_page_says_in_its_order(policy: PolicySettings) -> None:
    loop, phases = make_loop(policy), list[str]()
    loop.on_phase = phases.append
    metrics = loop.step(0)
    assert phases == ["generate", "score", "evaluate", "update", "sync"]
    assert metrics["episodes"] == 8
    assert metrics["kl"] == 0  # policy and reference are one
    assert metrics["first_ratio_error"] == 0
    assert metrics["score_mean"] == pytest.approx(metrics["response_tokens_mean"] / 10)
    assert metrics["tokens"] == metrics["response_tokens_mean"] * 8
    assert metrics["kl_coef"] == 0.1
    parts = [metrics[f"seconds_{phase}"] for phase in phases]
    assert sum(parts) <= metrics["seconds_step"]


def test_the_next_step_samples_with_the_weights_that_this_one_learnt(policy: PolicySettings) -> None:
    loop = make_loop(policy)
    loop.step(0)
    assert isinstance(loop.rollouts.pool, HerePool)
    assert loop.rollouts.pool.version == 1
    sampled, learnt = dict(loop.rollouts.pool.model.named_parameters()), unpack(loop.learner.weights())
    assert all(np.array_equal(sampled[name].detach(), tensor) for name, tensor in learnt.items())
    second = loop.step(1)
    assert abs(second["sampler_kl"]) < 1e-4
    assert second["kl"] != 0
    assert second["kl_coef"] < 0.1  # a KL of 0 is below the target of 1


def test_a_trajectory_without_a_score_is_dropped_and_counted(policy: PolicySettings) -> None:
    metrics = make_loop(policy, missing=3).step(0)
    assert (metrics["episodes"], metrics["missing_rewards"]) == (5, 3)
    assert metrics["generated_tokens"] > metrics["tokens"]


def test_without_any_score_the_run_stops(policy: PolicySettings) -> None:
    with pytest.raises(RunFailed, match="no trajectory has a reward"):
        make_loop(policy, missing=8).step(0)


def test_the_learning_rate_follows_its_schedule(policy: PolicySettings) -> None:
    loop = make_loop(policy, learning_rate_schedule="linear")  # type: ignore[arg-type]
    rates = [loop.step(step)["learning_rate"] for step in range(4)]
    assert rates == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


def test_responses_of_other_weights_end_the_run(policy: PolicySettings) -> None:
    """Rule 15."""
    loop = make_loop(policy)
    loop.step(0)
    with pytest.raises(RunFailed, match=r"step 2: the workers sampled with the weights of version 1"):
        loop.step(2)


class StalePool(HerePool):
    """Says that it has the new weights, and samples with the old."""

    def set_weights(self, version: int, weights: Weights) -> None:
        self.version = version


@pytest.mark.parametrize("stale", [True, False])
def test_a_kl_far_below_0_is_told(policy: PolicySettings, caplog: pytest.LogCaptureFixture, stale: bool) -> None:
    """Rule 8: the reference's own samples are likelier under the reference than under a policy that has moved on."""
    loop = make_loop(policy, learning_rate=1e-2, sampler_correction="none")
    loop.rollouts.prompts = PromptStream(EIGHT, per_step=8, samples_per_prompt=4, seed=0)
    if stale:
        loop.rollouts.pool = StalePool(policy)
    for step in range(8):
        loop.step(step)
    assert ("docs/troubleshooting.md" in caplog.text) == stale


def test_a_policy_too_far_from_its_reference_is_not_updated(policy: PolicySettings) -> None:
    loop = make_loop(policy, kl=KLSettings(run_limit_nats_per_response=1e-9))
    loop.step(0)  # policy and reference are one
    loop.learner.update = Mock(side_effect=AssertionError("updated"))
    with pytest.raises(TooFarFromReference, match="step 1: KL"):
        loop.step(1)
