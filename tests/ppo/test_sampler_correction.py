"""Rule 14: what was sampled by another distribution than the learner's is weighed, within bounds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy.tiny import tiny_llama

from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.targets import make_targets, sampler_weights

from .learners import LIVELY, local
from .ragged import ragged_batch

LOG_RATIOS = st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=20)


def weights_of(log_ratios: list[float], correction: str, cap: float = 2.0) -> list[float]:
    ppo = PPOSettings(sampler_correction=correction, sampler_weight_cap=cap)  # type: ignore[arg-type]
    return sampler_weights(np.array(log_ratios, np.float32), ppo).tolist()


@given(LOG_RATIOS, st.floats(1, 10))
def test_weights_are_bounded_as_the_settings_say(log_ratios: list[float], cap: float):
    for log_ratio, cut, masked in zip(
        log_ratios, weights_of(log_ratios, "truncate", cap), weights_of(log_ratios, "mask", cap), strict=True
    ):
        exact = np.exp(log_ratio)
        assert cut == pytest.approx(min(exact, cap), rel=1e-5, abs=1e-30)
        if abs(abs(log_ratio) - np.log(cap)) > 1e-5:
            assert masked == pytest.approx(exact if abs(log_ratio) < np.log(cap) else 0.0, rel=1e-5)
    assert weights_of(log_ratios, "none") == [1.0] * len(log_ratios)


def test_below_the_cap_means_are_those_of_the_learners_own_samples():
    """E over the sampler of weight * x is E over the learner of x; without the weight it is not."""
    rng = np.random.default_rng(0)
    sampler = rng.dirichlet(np.ones(50) * 5)
    learner = sampler * rng.uniform(0.6, 1.4, 50)
    learner /= learner.sum()
    x = rng.normal(size=50)
    weights = np.array(weights_of(np.log(learner / sampler).tolist(), "truncate"))
    assert weights.max() < 2
    assert (sampler * weights * x).sum() == pytest.approx((learner * x).sum(), rel=1e-5)
    assert abs((sampler * x).sum() - (learner * x).sum()) > 1e-3


@pytest.mark.parametrize(("correction", "weight"), [("none", 1.0), ("truncate", 2.0), ("mask", 0.0)])
def test_the_policy_loss_is_weighed_and_nothing_else(tmp_path: Path, correction: str, weight: float):
    """Tokens that the sampler found a tenth as likely; values, returns and the count of tokens stay."""
    learner, batch = local(tiny_llama(tmp_path)), ragged_batch()
    evaluation = learner.evaluate(batch)
    unlikely = dataclasses.replace(batch, sampler_logprobs=evaluation.logprobs - np.log(np.float32(10)))
    alike = dataclasses.replace(batch, sampler_logprobs=evaluation.logprobs)
    ppo = dataclasses.replace(LIVELY, sampler_correction=correction)
    plain, same = make_targets(alike, evaluation, 0.1, ppo)
    found, statistics = make_targets(unlikely, evaluation, 0.1, ppo)
    np.testing.assert_allclose(found.advantages, weight * plain.advantages, rtol=1e-6)
    np.testing.assert_array_equal(found.returns, plain.returns)
    assert same["sampler_weight_mean"] == pytest.approx(1.0)
    assert statistics["sampler_weight_mean"] == pytest.approx(weight)
