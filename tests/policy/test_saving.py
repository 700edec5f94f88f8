"""A saved policy is a standard folder that computes what the live model computes, and is there whole or not at all."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from plaudit.policy.loading import CausalLM, load_causal_lm, load_tokenizer
from plaudit.policy.merging import AdapterMerger
from plaudit.policy.saving import save_policy
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.policy.weights import load_into, pack, trainable

from .tiny import tiny_gpt2, tiny_llama

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def _trained(policy: PolicySettings, seed: int = 0) -> CausalLM:
    """As if it had learnt something."""
    model = load_causal_lm(policy)
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in trainable(model).values():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    return model


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2)], ids=["full", "lora"])
@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_the_folder_computes_what_the_live_model_computes(tmp_path: Path, make, lora):
    policy = PolicySettings(model=str(make(tmp_path / "m")), lora=lora)
    model = _trained(policy)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_policy(model, load_tokenizer(policy), tmp_path / "saved")
    with torch.no_grad():
        saved = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
        torch.testing.assert_close(saved(IDS).logits, model(IDS).logits, atol=1e-4, rtol=0)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "saved")) == 100
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert (tmp_path / "saved" / "adapter" / "adapter_model.safetensors").is_file() == (lora is not None)


def test_a_folder_whose_parent_is_elsewhere_is_not_made(tmp_path: Path):
    """As on a node that does not share the trainer's file system: what is written there nobody would find."""
    policy = PolicySettings(model=str(tiny_llama(tmp_path / "m")))
    with pytest.raises(FileNotFoundError, match="saved"):
        save_policy(load_causal_lm(policy), load_tokenizer(policy), tmp_path / "elsewhere" / "saved")


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_a_merged_adapter_computes_the_same_and_never_drifts(tmp_path: Path, make):
    policy = PolicySettings(model=str(make(tmp_path / "m")), lora=LoraSettings(rank=2))
    model, live = load_causal_lm(policy), _trained(policy)
    merger, wanted = AdapterMerger(model), pack(trainable(live))
    for scale in (50.0, -3.0, 700.0, 0.0):  # versions that would leave rounding behind if they were added and taken off
        load_into(model, pack({name: tensor * scale for name, tensor in trainable(live).items()}))
        merger.merge()
    load_into(model, wanted)
    merger.merge()
    with torch.no_grad(), merger.merged():
        torch.testing.assert_close(model(IDS).logits, live(IDS).logits, atol=1e-4, rtol=0)
        once = load_causal_lm(policy)
        load_into(once, wanted)
        fresh = AdapterMerger(once)
        fresh.merge()
        with fresh.merged():
            assert torch.equal(model(IDS).logits, once(IDS).logits)
    assert trainable(model).keys() == trainable(live).keys()


@pytest.mark.parametrize(
    ("raised", "seen"), [(Exception("No space left on device"), OSError), (KeyError("x"), KeyError)]
)
def test_a_tokenizers_want_of_room_is_the_systems_error_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, seen: type[Exception]
):
    def fail(folder: Path) -> None:
        raise raised

    policy = PolicySettings(model=str(tiny_llama(tmp_path / "policy")))
    tokenizer = load_tokenizer(policy)
    monkeypatch.setattr(tokenizer, "save_pretrained", fail)
    with pytest.raises(seen, match=str(raised.args[0])):
        save_policy(load_causal_lm(policy), tokenizer, tmp_path / "saved")
