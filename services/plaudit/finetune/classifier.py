"""The model a reward model starts from: any sequence classifier or causal LM, given one output."""

import math
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.policy.dropout import disable_dropout
from plaudit.policy.loading import load_tokenizer
from plaudit.policy.lora import with_lora
from plaudit.policy.settings import PolicySettings
from plaudit.policy.sources import check_source, explained, is_adapter
from plaudit.policy.special_tokens import choose_pad_token

PAD = "<|plaudit_pad|>"

Classifier = PreTrainedModel | PeftModel


def load_base_tokenizer(base: PolicySettings) -> PreTrainedTokenizerBase:
    """The base's tokenizer. Its end of sequence (SEP for BERT) and its padding are never the same token.

    A decoder's score is read at its last token that is no padding: were EOS the padding, the end could not be seen.
    """
    tokenizer = load_tokenizer(base)
    if tokenizer.eos_token is None and tokenizer.sep_token is not None:
        tokenizer.eos_token = tokenizer.sep_token
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = choose_pad_token(tokenizer)
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD})
    tokenizer.padding_side = "right"
    return tokenizer


def load_classifier(
    base: PolicySettings, tokenizer: PreTrainedTokenizerBase, *, dropout: bool = False, seed: int = 0
) -> Classifier:
    """The base with one output, float32, on the CPU; with LoRA where `base.lora` says so. Raises ConfigurationError."""
    check_source(base.model, base.revision)
    if is_adapter(base.model):
        raise ConfigurationError(
            f"'{base.model}' is an adapter: give the folder of a whole model as a reward model's base"
        )
    torch.manual_seed(seed)
    model = _load(base)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    if len(tokenizer) > model.config.get_text_config().vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    if not dropout:
        disable_dropout(model)
    return model if base.lora is None else with_lora(model, base.lora, "SEQ_CLS")


def save_classifier(model: Classifier, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """A standard Hugging Face folder; LoRA is merged into the weights."""
    merged = model.merge_and_unload() if isinstance(model, PeftModel) else model
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _load(base: PolicySettings) -> PreTrainedModel:
    with explained(base.model):
        loaded, report = AutoModelForSequenceClassification.from_pretrained(
            str(Path(base.model).expanduser()) if Path(base.model).expanduser().is_dir() else base.model,
            revision=base.revision or "main",
            trust_remote_code=base.trust_remote_code,
            num_labels=1,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # the head of a classifier with more labels
            output_loading_info=True,
        )
    model: PreTrainedModel = loaded
    fresh = set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]}
    _initialise_head(model, fresh, base.model)
    return model


def _initialise_head(model: PreTrainedModel, fresh: set[str], name: str) -> None:
    """Weights that the base lacks: only a head may be fresh; its last layer gets std 1 / sqrt(d + 1) and no bias.

    So that scores begin at order 1 whatever the width (Stiennon et al. 2020; The N+ Implementation Details).
    """
    backbone = [key for key in fresh if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key]
    if backbone:
        raise ConfigurationError(f"model '{name}' has no weights for '{min(backbone)}': is it a whole language model?")
    for key, module in model.named_modules():
        if isinstance(module, nn.Linear) and module.out_features == 1 and f"{key}.weight" in fresh:
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.in_features + 1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
