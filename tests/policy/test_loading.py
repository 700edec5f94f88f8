"""A policy is loaded ready for PPO, or refused in one line that names it."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel, LlamaConfig, LlamaForSequenceClassification

from plaudit.errors import ConfigurationError
from plaudit.policy.loading import load_causal_lm, load_config, load_stop_token_ids, load_tokenizer
from plaudit.policy.saving import save_policy
from plaudit.policy.settings import LoraSettings, PolicySettings

from .tiny import tiny_gpt2, tiny_llama

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def _refused(model: object) -> str:
    """The error of every loader, which must be the same single line."""
    policy = PolicySettings(model=str(model))
    with pytest.raises(ConfigurationError) as error:
        load_causal_lm(policy)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_dropout_is_gone_from_modules_and_config(tmp_path: Path):
    model = load_causal_lm(PolicySettings(model=str(tiny_gpt2(tmp_path / "m")))).train()
    assert [getattr(model.config, name) for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop")] == [0, 0, 0]
    assert torch.equal(model(IDS).logits, model(IDS).logits)


def test_dropout_would_have_shown(tmp_path: Path):
    model = AutoModelForCausalLM.from_pretrained(tiny_gpt2(tmp_path / "m")).train()
    assert not torch.equal(model(IDS).logits, model(IDS).logits)


def test_masters_are_float32_whatever_the_files_hold(tmp_path: Path):
    folder = tiny_llama(tmp_path / "m")
    AutoModelForCausalLM.from_pretrained(folder).to(torch.bfloat16).save_pretrained(folder)
    policy = PolicySettings(model=str(folder), dtype="bfloat16", lora=LoraSettings())
    assert {p.dtype for p in load_causal_lm(policy).parameters()} == {torch.float32}


def test_only_special_tokens_are_left_of_the_generation_config(tmp_path: Path):
    folder = tiny_llama(tmp_path / "m")
    (folder / "generation_config.json").write_text(
        json.dumps({"top_k": 7, "repetition_penalty": 2.0, "eos_token_id": [2, 9]})
    )
    kept = load_causal_lm(PolicySettings(model=str(folder))).generation_config
    assert (kept.top_k, kept.repetition_penalty, kept.eos_token_id) == (None, None, [2, 9])


def test_lora_starts_at_the_policy_and_the_same_in_every_process(tmp_path: Path):
    folder = str(tiny_llama(tmp_path / "m"))
    plain = load_causal_lm(PolicySettings(model=folder))
    torch.manual_seed(1)
    one = load_causal_lm(PolicySettings(model=folder, lora=LoraSettings(rank=3)))
    torch.manual_seed(2)
    other = load_causal_lm(PolicySettings(model=folder, lora=LoraSettings(rank=3)))
    assert isinstance(one, PeftModel)
    assert torch.equal(one(IDS).logits, plain(IDS).logits)
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_with_an_adapter_folder_adapter_off_is_the_adapted_policy(tmp_path: Path):
    """Otherwise the reference of a run that starts from a LoRA SFT would be the base model: KL > 0 at step 0."""
    base = PolicySettings(model=str(tiny_llama(tmp_path / "m")), lora=LoraSettings())
    tuned = load_causal_lm(base)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    save_policy(tuned, load_tokenizer(base), tmp_path / "sft")
    adapter = PolicySettings(model=str(tmp_path / "sft" / "adapter"), lora=LoraSettings(rank=2))
    loaded = load_causal_lm(adapter)
    assert isinstance(loaded, PeftModel)
    with loaded.disable_adapter():
        reference = loaded(IDS).logits
    torch.testing.assert_close(reference, tuned(IDS).logits, atol=1e-4, rtol=0)
    assert not torch.allclose(reference, load_causal_lm(base)(IDS).logits, atol=1e-2)
    assert load_config(adapter).hidden_size == 32
    tokenizer = load_tokenizer(adapter)
    assert tokenizer.pad_token_id == 0
    assert load_stop_token_ids(adapter, tokenizer) == (2,)


def test_a_tokenizer_without_pad_gets_one_that_the_model_knows(tmp_path: Path):
    folder = tiny_llama(tmp_path / "m")
    policy = PolicySettings(model=str(folder))
    tokenizer = load_tokenizer(policy)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    again = load_tokenizer(policy)
    assert again.pad_token_id is not None
    assert again.pad_token_id != again.eos_token_id
    assert len(again) == 100


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    assert f"no model folder '{tmp_path}/nowhere'" in _refused(tmp_path / "nowhere")


def test_a_folder_without_config_is_named(tmp_path: Path):
    assert f"'{tmp_path}' has no config.json" in _refused(tmp_path)


def test_a_file_is_refused(tmp_path: Path):
    (tmp_path / "model.gguf").write_text("")
    assert "is a file" in _refused(tmp_path / "model.gguf")


def test_a_hub_name_that_cannot_be_had_is_named(monkeypatch):
    """The port is closed: as on a machine without a network, and quick."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert "'some-org/some-model' is not a folder here, not in the Hugging Face cache" in _refused(
        "some-org/some-model"
    )


def test_a_config_that_is_not_json_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text("{")
    assert f"'{tmp_path}' can't be loaded" in _refused(tmp_path)


def test_weights_that_are_not_there_are_refused(tmp_path: Path):
    folder = tiny_llama(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    assert f"'{folder}' can't be loaded" in _refused(folder)


def test_weights_that_were_cut_off_are_refused(tmp_path: Path):
    folder = tiny_llama(tmp_path / "m")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert f"'{folder}' can't be loaded" in _refused(folder)


def test_pickled_weights_are_never_opened(tmp_path: Path):
    folder = tiny_llama(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert f"'{folder}' can't be loaded" in _refused(folder)


def test_a_classifier_has_no_language_model_head(tmp_path: Path):
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    assert "lm_head.weight" in _refused(tmp_path)


def test_an_encoder_is_refused(tmp_path: Path):
    config = BertConfig(vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    BertLMHeadModel(config).save_pretrained(tmp_path)
    assert "(bert) is an encoder" in _refused(tmp_path)


def test_an_adapter_whose_base_is_gone_names_the_base(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "/gone/base"})
    )
    assert "'/gone/base'" in _refused(tmp_path)


def test_lora_targets_that_do_not_exist_are_named(tmp_path: Path):
    policy = PolicySettings(model=str(tiny_llama(tmp_path / "m")), lora=LoraSettings(target_modules=["no_such_layer"]))
    with pytest.raises(ConfigurationError, match="no_such_layer"):
        load_causal_lm(policy)
