import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from plaudit.ppo.losses import clipped_policy_loss, clipped_value_loss, is_clipped, probability_ratio, token_mean

from . import reference
from .ragged import Numbers, numbers

RANGE = st.floats(0.0625, 0.5, width=32)


@given(numbers(3, size=2.0), RANGE)
def test_the_policy_loss_is_its_definition(x: Numbers, clip_range: float):
    logprobs, old, advantages = x.tensors
    ratio = probability_ratio(logprobs[x.mask], old[x.mask])
    actual = clipped_policy_loss(ratio, advantages[x.mask], clip_range)
    expected = [reference.policy_loss(*token, clip_range) for row in x.rows for token in row]
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-4, atol=1e-4)


@given(numbers(3), RANGE)
def test_the_value_loss_is_its_definition(x: Numbers, clip_range: float):
    """Rule 13: half the maximum; the clip is around the rollout's value."""
    actual = clipped_value_loss(*(tensor[x.mask] for tensor in x.tensors), clip_range)
    expected = [reference.value_loss(*token, clip_range) for row in x.rows for token in row]
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_the_gradient_at_ratio_one_is_that_of_the_policy_gradient():
    """At the first step the loss is -A log pi as far as its gradient goes, clipped or not."""
    logprobs = torch.tensor([-1.0, -2.0], requires_grad=True)
    advantages = torch.tensor([3.0, -4.0])
    clipped_policy_loss(probability_ratio(logprobs, logprobs.detach()), advantages, 0.2).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [-3.0, 4.0]


@given(numbers(2, size=1.0), RANGE)
def test_clipped_is_where_the_gradient_is_gone(x: Numbers, clip_range: float):
    log_ratio = x.tensors[0][x.mask].requires_grad_()
    advantages = x.tensors[1][x.mask]
    ratio = torch.exp(log_ratio)
    clipped_policy_loss(ratio, advantages, clip_range).sum().backward()
    clipped = is_clipped(ratio, advantages, clip_range)
    assert log_ratio.grad is not None
    assert torch.equal((log_ratio.grad == 0) & (advantages != 0), clipped & (advantages != 0))


def test_losses_divide_by_the_tokens_of_the_whole_minibatch():
    """Rule 12: lengths 1 and 3, advantages +1 and -1: 0.5, however the two are cut; means of means would say 0."""
    ratio = torch.ones(2, 3)
    mask = torch.tensor([[True, False, False], [True, True, True]])
    advantages = torch.tensor([[1.0], [-1.0]]).expand(2, 3)
    per_token = clipped_policy_loss(ratio, advantages, 0.2)
    assert token_mean(per_token, mask, 4) == 0.5
    assert token_mean(per_token[:1], mask[:1], 4) + token_mean(per_token[1:], mask[1:], 4) == 0.5


def test_what_is_masked_can_be_anything():
    mask = torch.tensor([[True, False]])
    assert token_mean(torch.tensor([[2.0, math.nan]]), mask, 1) == 2.0
