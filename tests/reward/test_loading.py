import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from plaudit.errors import ConfigurationError
from plaudit.reward.loading import load_model, load_tokenizer
from plaudit.reward.sources import locate

from . import tiny_models


def test_an_untrained_head_is_refused(tmp_path: Path):
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=50, pad_token_id=0, num_labels=1, **shape)).save_pretrained(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match=r"score\.weight.*random"):
        load_model(tmp_path)


def test_two_labels_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="2 labels"):
        load_model(tiny_models.decoder(tmp_path, num_labels=2))


def test_a_token_classifier_of_three_labels_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"3 labels.*1 or 2"):
        load_model(tiny_models.token_classifier(tmp_path, num_labels=3))


def test_an_untrained_head_of_a_token_classifier_is_refused(tmp_path: Path):
    tiny_models.decoder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertForTokenClassification"]}))
    config |= {"architectures": ["LlamaForTokenClassification"], "num_labels": 2}
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if name != "score.weight"}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match=r"score\.\w+.*random"):
        load_model(tmp_path)


def test_a_missing_pad_token_is_refused(tmp_path: Path):
    tiny_models.decoder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    with pytest.raises(ConfigurationError, match="pad_token_id"):
        load_model(tmp_path)


def test_pickled_weights_are_never_read(tmp_path: Path):
    tiny_models.decoder(tmp_path)
    torch.save(load_model(tmp_path).state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_model(tmp_path)


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_an_empty_folder_is_refused(tmp_path: Path, load):
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        load(tmp_path)


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("runs/no such folder", "someone/no-such-model"):
        with pytest.raises(ConfigurationError, match="neither a folder"):
            locate(name)
