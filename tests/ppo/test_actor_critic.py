from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from policy.tiny import tiny_gpt2, tiny_llama
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPTNeoXConfig,
    GraniteConfig,
    OPTConfig,
    PreTrainedConfig,
)

import plaudit.policy.logprobs as logprobs
from plaudit.errors import ConfigurationError
from plaudit.policy.actor_critic import ActorCritic, PaddedRows
from plaudit.policy.loading import load_causal_lm
from plaudit.policy.settings import PolicySettings

from . import reference
from .checks import dropout_is_off
from .learners import LORA, TEMPERATURE
from .ragged import ragged_batch, real_tokens

SIZES = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0}
FAMILIES = [
    Gemma2Config(**SIZES, intermediate_size=64, num_key_value_heads=2, head_dim=8, final_logit_softcapping=2.0),
    CohereConfig(**SIZES, intermediate_size=64, logit_scale=0.25),
    GraniteConfig(**SIZES, intermediate_size=64, logits_scaling=3.0),
    GPTNeoXConfig(**SIZES, intermediate_size=64),
    OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=16, dropout=0.2),
]


def padded() -> PaddedRows:
    batch = ragged_batch()
    return PaddedRows(*map(torch.from_numpy, (batch.input_ids, batch.attention_mask, batch.response_mask)))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
def test_architectures_that_scale_or_cap_their_logits(config: PreTrainedConfig):
    """Rules 1, 2, 5 over families: relative and absolute positions, projected embeddings, logits scaled or capped."""
    torch.manual_seed(0)
    causal_lm = AutoModelForCausalLM.from_config(config).eval()
    for weight in causal_lm.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    batch = ragged_batch()
    outputs = ActorCritic(causal_lm)(padded(), TEMPERATURE)
    for row, mask in enumerate(batch.response_mask):
        ours, entropies = outputs.logprobs[row].detach().numpy(), outputs.entropies[row].detach().numpy()
        expected, expected_entropies = reference.response_logprobs(causal_lm, *real_tokens(batch, row), TEMPERATURE)
        np.testing.assert_allclose(ours[mask], expected, atol=1e-4)
        np.testing.assert_allclose(entropies[mask], expected_entropies, atol=1e-4)


def test_a_model_with_logits_of_its_own_is_refused(llama: Path, monkeypatch: pytest.MonkeyPatch):
    causal_lm = load_causal_lm(PolicySettings(model=str(llama)))
    monkeypatch.setattr(logprobs.TokenHead, "logits", lambda self, hidden: self._output(hidden) * 1.5)
    with pytest.raises(ConfigurationError, match="'llama'"):
        ActorCritic(causal_lm)


def test_logits_in_chunks_are_the_same_forwards_and_backwards(llama: Path, monkeypatch: pytest.MonkeyPatch):
    """Rule 25: memory is bounded by a chunk; results and gradients do not change."""

    def gradients() -> tuple[torch.Tensor, list[torch.Tensor]]:
        model = ActorCritic(load_causal_lm(PolicySettings(model=str(llama))))
        outputs = model(padded(), TEMPERATURE)
        (outputs.logprobs.sum() + outputs.entropies.square().sum()).backward()
        return outputs.logprobs, [p.grad for p in model.causal_lm.parameters()]

    whole, whole_gradients = gradients()
    monkeypatch.setattr(logprobs, "LOGITS_AT_ONCE", 300)
    cut, cut_gradients = gradients()
    torch.testing.assert_close(whole, cut)
    torch.testing.assert_close(whole_gradients, cut_gradients, rtol=1e-3, atol=1e-4)


def test_padding_ids_need_not_be_in_the_vocabulary(llama: Path):
    """Rule 5: a padding token added after pre-training has no embedding."""
    model, rows = ActorCritic(load_causal_lm(PolicySettings(model=str(llama)))), padded()
    strange = rows._replace(input_ids=torch.where(rows.attention_mask, rows.input_ids, 10_000))
    torch.testing.assert_close(model(rows, 1.0).logprobs, model(strange, 1.0).logprobs)


def test_a_genuine_token_with_the_padding_id_counts(llama: Path):
    """Rule 5: masks come from lengths, never from `ids != pad`."""
    model, rows = ActorCritic(load_causal_lm(PolicySettings(model=str(llama)))), padded()
    first_response_column = rows.input_ids.shape[1] - rows.response_mask.shape[1]
    rows.input_ids[:, first_response_column] = 0
    assert torch.all(model(rows, 1.0).logprobs[:, 0] < 0)


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_values_start_at_zero_and_learn(llama: Path, critic: str):
    """Rule 13; a separate critic's loss leaves the policy alone, a shared one's does not."""
    model, rows = ActorCritic(load_causal_lm(PolicySettings(model=str(llama))), critic), padded()
    assert not model(rows, 1.0).values.any()
    torch.nn.init.ones_(model.value_head.weight)
    model(rows, 1.0).values.sum().backward()
    policy_is_moved = any(p.grad is not None for p in model.causal_lm.parameters())
    assert policy_is_moved == (critic == "shared")
    assert all(p.grad is not None for p in (model.critic or model.causal_lm.base_model).parameters())


def test_bfloat16_computes_coarsely_but_answers_in_float32(llama: Path):
    """Rule 25: autocast over float32 master weights; log-softmax, entropies and values in float32."""
    causal_lm = load_causal_lm(PolicySettings(model=str(llama)))
    exact, coarse = (
        ActorCritic(causal_lm)(padded(), 1.0),
        ActorCritic(causal_lm, autocast=torch.bfloat16)(padded(), 1.0),
    )
    assert all(x.dtype == torch.float32 for x in coarse)
    assert all(p.dtype == torch.float32 for p in causal_lm.parameters())
    assert 1e-4 < (exact.logprobs - coarse.logprobs).abs().max() < 0.5
    coarse.logprobs.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in causal_lm.parameters())


@pytest.mark.parametrize("autocast", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", [None, LORA])
def test_the_reference_is_the_policy_at_the_start_and_stays(llama: Path, lora: object, autocast: torch.dtype):
    """Rule 20: KL at step 0 is exactly 0; training moves the policy only; adapters off is the base."""
    model, rows = ActorCritic(load_causal_lm(PolicySettings(model=str(llama), lora=lora)), autocast=autocast), padded()
    with torch.no_grad():
        before = model.reference_logprobs(rows, 1.0)
        assert torch.equal(model(rows, 1.0).logprobs, before)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
        assert torch.equal(model.reference_logprobs(rows, 1.0), before)
        assert (model(rows, 1.0).logprobs - before).abs().max() > 1e-2
    assert any(p.requires_grad for p in model.causal_lm.parameters())


def test_after_a_lora_fine_tuning_the_reference_is_its_result(llama: Path, tmp_path: Path):
    """Rule 20: an adapter folder is merged first, so that "adapter off" is the fine-tuned model, not its base."""
    base = AutoModelForCausalLM.from_pretrained(llama)
    tuned = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    tuned.save_pretrained(tmp_path)
    for lora in (None, LORA):
        model = ActorCritic(load_causal_lm(PolicySettings(model=str(tmp_path), lora=lora)))
        batch = ragged_batch()
        ours, theirs = model(padded(), TEMPERATURE).logprobs, model.reference_logprobs(padded(), TEMPERATURE)
        assert (ours - theirs).abs().max() < 1e-6
        expected, _ = reference.response_logprobs(tuned.eval(), *real_tokens(batch, 0), TEMPERATURE)
        torch.testing.assert_close(theirs[0][padded().response_mask[0]], torch.tensor(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_dropout_is_off_in_all_parts_and_modes(tmp_path: Path, critic: str):
    """Rule 4: a config with dropout 0.1, and train() called on it."""
    causal_lm = AutoModelForCausalLM.from_pretrained(tiny_gpt2(tmp_path))
    assert not dropout_is_off(causal_lm)
    model = ActorCritic(causal_lm, critic).train()
    assert dropout_is_off(model)
    torch.testing.assert_close(model(padded(), 1.0).logprobs, model(padded(), 1.0).logprobs, rtol=0, atol=0)


def test_gradient_checkpointing_changes_nothing(llama: Path):
    plain, saving = (
        ActorCritic(load_causal_lm(PolicySettings(model=str(llama), lora=LORA, gradient_checkpointing=on))).train()
        for on in (False, True)
    )
    for model in (plain, saving):
        model(padded(), 1.0).logprobs.sum().backward()
    for ours, theirs in zip(plain.parameters(), saving.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)
