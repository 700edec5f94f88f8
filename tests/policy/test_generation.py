"""What is generated is what was sampled: the reference is one unpadded row, one forward pass, no cache."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from plaudit.policy.generation import generate
from plaudit.policy.loading import CausalLM, load_causal_lm, load_stop_token_ids, load_tokenizer
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, Trajectory

from .tiny import tiny_gpt2, tiny_llama

RAGGED = [RolloutRequest(Prompt(f"p{n}", tuple(range(5, 6 + n)))) for n in (0, 17, 3, 9, 1, 30, 3)]
SAMPLING = Sampling(max_new_tokens=24, temperature=0.7, stop_token_ids=(2, 40, 41), run_seed=3)


@pytest.fixture(scope="module", params=["llama", "gpt2", "llama-lora"])
def policy(request, tmp_path_factory) -> PolicySettings:
    make = tiny_gpt2 if request.param == "gpt2" else tiny_llama
    folder = make(tmp_path_factory.mktemp("policy") / "model")
    return PolicySettings(model=str(folder), lora=LoraSettings(rank=2) if "lora" in request.param else None)


def _generate(
    policy: PolicySettings, requests: Sequence[RolloutRequest] = RAGGED, sampling: Sampling = SAMPLING, **load
):
    tokenizer = load_tokenizer(policy)
    return generate(_load(policy, **load), requests, sampling, tokenizer.pad_token_id, 5, tokenizer)


def _load(policy: PolicySettings, **load) -> CausalLM:
    model = load_causal_lm(policy, **load)
    if policy.lora:  # an adapter fresh from loading adds nothing
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.1)
    return model


@torch.no_grad()
def _reference_logprobs(model: CausalLM, trajectory: Trajectory, temperature: float) -> np.ndarray:
    prompt, response = trajectory.request.prompt.token_ids, trajectory.response_ids
    logits = model(torch.tensor([prompt + response]), use_cache=False).logits[0].double() / temperature
    logprobs = logits.log_softmax(-1)
    return np.array([logprobs[len(prompt) - 1 + t, token].item() for t, token in enumerate(response)])


def test_logprobs_equal_an_unpadded_forward_without_cache(policy):
    model, trajectories = _load(policy), _generate(policy)
    assert len({len(t.response_ids) for t in trajectories}) > 1, "rows of one length would not test their removal"
    for trajectory in trajectories:
        assert trajectory.sampler_logprobs.dtype == np.float32
        expected = _reference_logprobs(model, trajectory, SAMPLING.temperature)
        np.testing.assert_allclose(trajectory.sampler_logprobs, expected, atol=1e-4)


def test_rows_end_where_they_stop_and_say_why(policy):
    for request, trajectory in zip(RAGGED, _generate(policy), strict=True):
        assert trajectory.request is request
        assert trajectory.weight_version == 5
        *before, last = trajectory.response_ids
        assert not set(before) & set(SAMPLING.stop_token_ids)
        stopped = last in SAMPLING.stop_token_ids
        assert trajectory.finish_reason == ("stop" if stopped else "length")
        assert stopped or len(trajectory.response_ids) == SAMPLING.max_new_tokens


def test_a_stop_token_in_the_prompt_ends_nothing(policy):
    request = RolloutRequest(Prompt("p", (2, 40, 2)))
    assert _generate(policy, [request], replace(SAMPLING, stop_token_ids=()))[0].finish_reason == "length"


def test_the_same_requests_give_the_same_bits(policy):
    one, other = _generate(policy), _generate(policy)
    assert [t.response_ids for t in one] == [t.response_ids for t in other]
    assert [t.sampler_logprobs.tobytes() for t in one] == [t.sampler_logprobs.tobytes() for t in other]


def test_another_run_seed_gives_other_responses(policy):
    one, other = _generate(policy), _generate(policy, sampling=replace(SAMPLING, run_seed=4))
    assert all(a.response_ids != b.response_ids for a, b in zip(one, other, strict=True) if len(a.response_ids) > 3)


def test_a_request_draws_the_same_wherever_it_stands(policy):
    """Streams are per request: floating point apart (here it never tips a token), neighbours don't matter."""
    here, there = _generate(policy), _generate(policy, RAGGED[::-1])[::-1]
    assert [t.response_ids for t in here] == [t.response_ids for t in there]


def test_generation_defaults_of_the_model_change_nothing(tmp_path: Path):
    folder = tiny_llama(tmp_path / "m")
    before = _generate(PolicySettings(model=str(folder)))
    defaults = {
        "do_sample": True,
        "top_k": 2,
        "top_p": 0.1,
        "temperature": 9.0,
        "repetition_penalty": 5.0,
        "eos_token_id": [2, 7],
    }
    (folder / "generation_config.json").write_text(json.dumps(defaults))
    policy = PolicySettings(model=str(folder))
    assert [t.response_ids for t in _generate(policy)] == [t.response_ids for t in before]
    assert load_stop_token_ids(policy, load_tokenizer(policy)) == (2, 7)


def test_an_untouched_model_samples_its_whole_vocabulary(tmp_path: Path):
    """First tokens of many samples of one prompt against the exact softmax; top-k at 50 of 60 would fail."""
    policy = PolicySettings(model=str(tiny_llama(tmp_path / "m", vocab=60)))
    requests = [RolloutRequest(Prompt("p", (5, 9)), sample_index=n) for n in range(20_000)]
    first = _generate(policy, requests, Sampling(1, 1.0, (2,), 0))
    counts = np.bincount([t.response_ids[0] for t in first], minlength=60)
    with torch.no_grad():
        logits = load_causal_lm(policy)(torch.tensor([[5, 9]])).logits[0, -1]
    expected = logits.double().softmax(0).numpy() * len(requests)
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_bfloat16_workers_report_what_they_sampled_from(tmp_path: Path):
    policy = PolicySettings(model=str(tiny_llama(tmp_path / "m")))
    model = load_causal_lm(policy, weights_dtype=torch.bfloat16)
    for trajectory in _generate(policy, weights_dtype=torch.bfloat16):
        expected = _reference_logprobs(model, trajectory, SAMPLING.temperature)
        np.testing.assert_allclose(trajectory.sampler_logprobs, expected, atol=0.2)
        assert np.isfinite(trajectory.sampler_logprobs).all()


def test_text_continues_the_prompt_with_its_space(tmp_path: Path):
    policy = PolicySettings(model=str(tiny_llama(tmp_path / "m")))
    tokenizer = load_tokenizer(policy)
    prompt = Prompt("p", tuple(tokenizer("the cat")["input_ids"]))
    requests = [RolloutRequest(prompt, sample_index=n) for n in range(50)]
    for trajectory in generate(load_causal_lm(policy), requests, SAMPLING, 0, 0, tokenizer):
        joined = tokenizer.decode([*prompt.token_ids, *trajectory.response_ids], skip_special_tokens=True)
        assert "the cat" + trajectory.response_text == joined


def test_train_mode_and_gradient_checkpointing_are_left_as_they_were(tmp_path: Path):
    folder = str(tiny_llama(tmp_path / "m"))
    plain = _generate(PolicySettings(model=folder))
    policy = PolicySettings(model=folder, gradient_checkpointing=True)
    model, tokenizer = load_causal_lm(policy).train(), load_tokenizer(policy)
    trajectories = generate(model, RAGGED, SAMPLING, 0, 0, tokenizer)
    assert model.training
    assert [t.response_ids for t in trajectories] == [t.response_ids for t in plain]


def test_nothing_asked_nothing_given(tmp_path: Path):
    assert _generate(PolicySettings(model=str(tiny_llama(tmp_path / "m"))), []) == []
