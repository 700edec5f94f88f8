import math

import numpy as np
import pytest
import torch

from plaudit.errors import ConfigurationError
from plaudit.ppo.kl import AdaptiveKL, FixedKL, absolute, is_too_negative, k1, k2, k3, kl_controller
from plaudit.ppo.settings import KLSettings
from plaudit.uncertainty import Estimate, mean

POLICY = torch.tensor([0.3, -0.7, 1.1, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([-0.2, 0.4, 0.1, 0.5], dtype=torch.float64)


def expectation(estimator, logits: torch.Tensor) -> torch.Tensor:
    """Under the policy, over its whole vocabulary; the samples' weights carry no gradient, as in training."""
    logprobs = logits.log_softmax(0)
    return (logprobs.detach().exp() * estimator(logprobs, REFERENCE.log_softmax(0))).sum()


def gradient(of, logits: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(of(logits), logits)[0]


def exact_kl(logits: torch.Tensor) -> torch.Tensor:
    logprobs = logits.log_softmax(0)
    return (logprobs.exp() * (logprobs - REFERENCE.log_softmax(0))).sum()


@pytest.mark.parametrize("estimator", [k1, k3])
def test_k1_and_k3_are_unbiased(estimator):
    """Rule 8, sign included: the divergence of the policy from its reference, not the other way round."""
    torch.testing.assert_close(expectation(estimator, POLICY), exact_kl(POLICY))


def test_k2_is_biased_but_close():
    far = -4 * REFERENCE
    assert expectation(k2, far) != pytest.approx(float(exact_kl(far)), rel=0.1)
    near = REFERENCE + 0.01 * POLICY
    assert expectation(k2, near) == pytest.approx(float(exact_kl(near)), rel=0.02)


def test_as_a_loss_only_k2_has_the_gradient_of_the_kl():
    """Rule 8: k1's vanishes in expectation, k3's is another one."""
    wanted = gradient(exact_kl, POLICY)
    torch.testing.assert_close(gradient(lambda z: expectation(k2, z), POLICY), wanted)
    torch.testing.assert_close(gradient(lambda z: expectation(k1, z), POLICY), torch.zeros_like(wanted))
    assert not torch.allclose(gradient(lambda z: expectation(k3, z), POLICY), wanted, rtol=0.1)


def test_three_standard_errors_below_0_are_too_many():
    """Rule 8."""
    assert not is_too_negative(Estimate(-0.29, 0.1, 64))
    assert is_too_negative(Estimate(-0.31, 0.1, 64))
    assert not is_too_negative(Estimate(5.0, 0.1, 64))
    assert not is_too_negative(Estimate(-1e-6, 1e-9, 64))  # rounding
    assert not is_too_negative(Estimate(-5.0, None, 1))


def test_chance_alone_hardly_ever_looks_like_too_negative_a_kl():
    """k1 of samples of the policy itself, over a response of twenty tokens of a skewed vocabulary."""
    random = np.random.default_rng(0)
    alarms = {8: 0, 32: 0, 128: 0}
    for _ in range(1000):
        ours, theirs = (random.normal(size=(20, 10)) * 0.3 + random.normal(size=10) for _ in range(2))
        theirs = ours + 0.05 * random.normal(size=ours.shape)
        ours, theirs = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (ours, theirs))
        k = (np.exp(ours).cumsum(1)[:, None] < random.random((20, 128, 1))).sum(2).clip(max=9)
        kl = np.take_along_axis((ours - theirs)[:, None].repeat(128, 1), k[..., None], 2)[..., 0].sum(0)
        for n in alarms:
            alarms[n] += is_too_negative(mean(kl[:n]))
    assert alarms[8] == 0
    assert max(alarms.values()) < 10  # one in a hundred


def test_abs_is_biased():
    """It punishes every move, to either side."""
    assert expectation(absolute, POLICY) > 1.5 * exact_kl(POLICY)


def test_k3_is_never_negative_and_exact_for_small_ratios():
    log_ratio = torch.tensor([-3.0, -1e-3, 0.0, 1e-3, 3.0])
    estimates = k3(log_ratio, torch.zeros(5))
    assert torch.all(estimates >= 0)
    assert estimates[3] == pytest.approx(5e-7, rel=1e-3)


def test_the_adaptive_controller_follows_its_law():
    """Rule 9: nats per response, error clipped to 0.2, in proportion to the episodes."""
    controller = AdaptiveKL(0.15, target_kl_nats_per_response=6.0, horizon_episodes=10_000)
    controller.update(6.6, episodes=64)
    assert controller.coef == pytest.approx(0.15 * (1 + 0.1 * 64 / 10_000))
    before = controller.coef
    controller.update(60.0, episodes=64)
    assert controller.coef == pytest.approx(before * (1 + 0.2 * 64 / 10_000))
    before = controller.coef
    controller.update(-1.0, episodes=100)
    assert controller.coef == pytest.approx(before * (1 - 0.2 * 100 / 10_000))


def test_the_adaptive_controller_goes_on_from_its_state():
    """Rule 9: beta is persisted."""
    first, second = (AdaptiveKL(0.15, 6.0, 100.0) for _ in range(2))
    first.update(12.0, episodes=50)
    second.load_state(first.state())
    assert second.coef == first.coef != 0.15


def test_a_fixed_coefficient_stays_with_the_settings():
    controller = FixedKL(0.3)
    controller.update(100.0, episodes=64)
    controller.load_state({"coef": 0.1})
    assert controller.coef == 0.3


def test_settings_choose_the_controller():
    assert isinstance(kl_controller(KLSettings(controller="fixed")), FixedKL)
    assert isinstance(kl_controller(KLSettings(controller="adaptive")), AdaptiveKL)


@pytest.mark.parametrize("wrong", [(0.0, 6.0, 100.0), (0.1, 0.0, 100.0), (0.1, 6.0, 0.0), (0.1, 6.0, -1.0)])
def test_a_controller_that_could_not_move_is_refused(wrong: tuple[float, float, float]):
    """Rule 9: target and horizon above 0."""
    with pytest.raises(ConfigurationError, match="above 0"):
        AdaptiveKL(*wrong)


def test_the_controllers_set_point_is_its_target():
    """A made-up task whose KL falls as beta rises: the loop settles at the target from 0.1, 1 and 10 times the beta."""
    for start in (0.1, 1.0, 10.0):
        controller = AdaptiveKL(start * 0.5, target_kl_nats_per_response=6.0, horizon_episodes=20.0)
        kl = math.nan
        for _ in range(300):
            kl = 3.0 / controller.coef
            controller.update(kl, episodes=4)
        assert kl == pytest.approx(6.0, rel=0.01)
