import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plaudit.ppo.advantages import gae, grpo, penalised_rewards, rloo, whiten
from plaudit.ppo.kl import k1

from . import reference
from .ragged import Numbers, numbers

UNIT = st.floats(0, 1, width=32)


def close(actual: torch.Tensor, expected: list[list[float]], mask: torch.Tensor) -> None:
    """Row by row on real tokens, and exactly 0 elsewhere."""
    assert torch.all(actual[~mask] == 0)
    for row, (numbers_, chosen) in enumerate(zip(actual, mask, strict=True)):
        torch.testing.assert_close(
            numbers_[chosen].double(), torch.tensor(expected[row]).double(), rtol=1e-4, atol=1e-4
        )


@given(numbers(2), st.floats(0, 2, width=32))
def test_rewards_are_penalties_and_the_score_at_the_last_token(x: Numbers, coef: float):
    """Rules 6, 7, 8: k1 with its sign, nothing after the end, the score where the response ends or was cut."""
    scores = torch.arange(1.0, len(x.rows) + 1)
    actual = penalised_rewards(scores, k1(*x.tensors), x.mask, coef)
    expected = [
        reference.penalised_rewards(float(score), *zip(*row, strict=True), coef)
        for score, row in zip(scores, x.rows, strict=True)
    ]
    close(actual, expected, x.mask)


def test_a_policy_that_left_its_reference_is_punished():
    """Rule 8: where the policy makes a sampled token likelier than the reference does, the reward is lower."""
    mask = torch.ones(1, 2, dtype=torch.bool)
    penalties = k1(torch.tensor([[-1.0, -1.0]]), torch.tensor([[-3.0, -1.0]]))
    rewards = penalised_rewards(torch.zeros(1), penalties, mask, 0.5)
    assert rewards.tolist() == [[-1.0, 0.0]]


def test_a_response_without_tokens_is_refused():
    mask = torch.tensor([[True], [False]])
    with pytest.raises(ValueError, match="without tokens"):
        penalised_rewards(torch.zeros(2), torch.zeros(2, 1), mask, 0.1)


@given(numbers(2), UNIT, UNIT)
def test_gae_is_its_definition(x: Numbers, gamma: float, gae_lambda: float):
    """Rule 10: terminal after the last token, returns of unwhitened advantages, masked tokens without influence."""
    advantages, returns = gae(*x.tensors, x.mask, gamma, gae_lambda)
    expected = [reference.gae(*zip(*row, strict=True), gamma, gae_lambda) for row in x.rows]
    close(advantages, [a for a, _ in expected], x.mask)
    close(returns, [r for _, r in expected], x.mask)


def test_gae_passes_over_masked_tokens_inside_a_response():
    """Rule 10: a turn that the policy did not write is skipped, not a place where the future ends."""
    rewards, values = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.25, 0.125]])
    whole, _ = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), 0.9, 0.8)
    gap = torch.tensor([[True, False, False, True, True]])
    spread = [torch.zeros(1, 5).masked_scatter(gap, x) + torch.where(gap, 0.0, 77.0) for x in (rewards, values)]
    torch.testing.assert_close(gae(*spread, gap, 0.9, 0.8)[0][gap], whole[0])


def test_the_critic_that_knows_leaves_no_advantage():
    """Values equal to the rewards to come make every advantage 0, so returns are the values."""
    rewards = torch.tensor([[0.0, -1.0, 4.0]])
    values = torch.tensor([[3.0, 3.0, 4.0]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), 1.0, 0.95)
    assert advantages.tolist() == [[0, 0, 0]]
    assert returns.tolist() == values.tolist()


@given(numbers(1), st.booleans())
def test_whitening_is_over_all_real_tokens_of_the_batch(x: Numbers, shift_mean: bool):
    """Rule 11: masked, global, Bessel's correction; a single token stays as it is."""
    flat = [token[0] for row in x.rows for token in row]
    expected = reference.whitened(flat, shift_mean) if len(flat) > 1 else flat
    if max(flat) - min(flat) > 1e-2 or len(flat) == 1:  # closer together, float32 has no digits left
        actual = whiten(x.tensors[0], x.mask, shift_mean)
        torch.testing.assert_close(actual[x.mask], torch.tensor(expected), rtol=1e-3, atol=1e-3)
        assert torch.all(actual[~x.mask] == 0)


def test_equal_rewards_whiten_to_nothing():
    assert whiten(torch.full((2, 3), 0.7), torch.ones(2, 3, dtype=torch.bool)).abs().max() < 1e-2


GROUPED = st.lists(st.tuples(st.integers(0, 3), st.integers(-100, 100)), min_size=1, max_size=12)


@given(GROUPED)
def test_group_baselines_are_their_definitions(rows: list[tuple[int, int]]):
    """Rows of a group need not stand together, groups need not be equally large."""
    groups, totals = (torch.tensor(column) for column in zip(*rows, strict=True))
    for ours, definition in ((rloo, reference.rloo), (grpo, reference.grpo)):
        expected = definition([float(total) for _, total in rows], [group for group, _ in rows])
        torch.testing.assert_close(ours(totals.float(), groups), torch.tensor(expected), rtol=1e-4, atol=1e-4)


@given(GROUPED, st.integers(-50, 50))
def test_what_all_samples_of_a_prompt_have_in_common_teaches_nothing(rows: list[tuple[int, int]], shift: int):
    groups, totals = (torch.tensor(column) for column in zip(*rows, strict=True))
    shifted = totals + shift * groups
    for ours in (rloo, grpo):
        torch.testing.assert_close(ours(totals.float(), groups), ours(shifted.float(), groups), rtol=1e-3, atol=1e-3)


def test_equal_scores_within_a_group_have_no_advantage():
    totals, groups = torch.tensor([3.0, 3.0, 1.0]), torch.tensor([0, 0, 1])
    assert rloo(totals, groups).tolist() == [0, 0, 0]
    assert grpo(totals, groups).tolist() == [0, 0, 0]
