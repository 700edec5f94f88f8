"""Tokens are drawn from the full softmax, each response from a stream of its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from plaudit.policy.sampling import draw, uniforms
from plaudit.trajectory import Prompt, RolloutRequest, Sampling


def _sampling(seed: int = 0, tokens: int = 8) -> Sampling:
    return Sampling(max_new_tokens=tokens, temperature=1.0, stop_token_ids=(), run_seed=seed)


def _request(prompt: str = "p", visit: int = 0, sample: int = 0) -> RolloutRequest:
    return RolloutRequest(Prompt(prompt, (1,)), visit, sample)


def test_a_stream_belongs_to_its_request_alone():
    alone = uniforms([_request("a")], _sampling())[0]
    beside = uniforms([_request("b"), _request("a")], _sampling())[1]
    assert np.array_equal(alone, beside)


def test_a_longer_limit_only_appends():
    short, long = (uniforms([_request()], _sampling(tokens=n))[0] for n in (8, 50))
    assert np.array_equal(short, long[:8])


def test_streams_differ_by_seed_prompt_visit_and_sample():
    streams = [
        uniforms([request], _sampling(seed))[0].tobytes()
        for seed in (0, 1)
        for request in (_request(p, v, s) for p in "ab" for v in (0, 1) for s in (0, 1))
    ]
    assert len(set(streams)) == 16


def test_the_stream_is_the_same_on_every_machine():
    """Recorded once: a run's samples stay reproducible over releases and platforms."""
    numbers = uniforms([_request("a", 1, 2)], _sampling(seed=7, tokens=2))[0]
    np.testing.assert_array_equal(numbers, [0.24740527380844224, 0.6061563380606161])


def _slow_distribution(logits: list[float], temperature: float) -> np.ndarray:
    """The obvious softmax."""
    scaled = np.array(logits, dtype=np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=20),
    st.floats(0.1, 3),
    st.floats(0, 1, exclude_max=True),
)
def test_the_drawn_token_is_the_one_whose_interval_holds_the_number(logits, temperature, uniform):
    tokens, logprobs = draw(torch.tensor([logits]), temperature, torch.tensor([uniform], dtype=torch.float64))
    token, probabilities = tokens.item(), _slow_distribution(logits, temperature)
    assert probabilities[:token].sum() - 1e-12 <= uniform <= probabilities[: token + 1].sum() + 1e-12
    assert logprobs.item() == pytest.approx(np.log(probabilities[token]), abs=1e-9)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_interval_never_draw_what_is_impossible(uniform):
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]])
    tokens, logprobs = draw(logits, 1.0, torch.tensor([uniform], dtype=torch.float64))
    assert tokens.item() == (1 if uniform == 0 else 2)
    assert np.isfinite(logprobs.item())


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_the_whole_vocabulary_is_drawn_as_often_as_it_should_be(temperature):
    logits = torch.linspace(-2, 2, 120)[torch.randperm(120, generator=torch.Generator().manual_seed(1))]
    draws = 200_000
    uniform = torch.from_numpy(np.random.default_rng(0).random(draws))
    tokens, _ = draw(logits.expand(draws, -1), temperature, uniform)
    counts = np.bincount(tokens.numpy(), minlength=120)
    expected = torch.softmax(logits.double() / temperature, 0).numpy() * draws
    assert expected.min() > 5
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3
