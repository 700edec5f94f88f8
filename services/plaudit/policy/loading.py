"""Loading a policy: any Hugging Face causal language model, by name or folder, ready to be trained with PPO.

What every caller may rely on: float32 master weights, no dropout anywhere, no generation defaults beyond the special
tokens, and one clear `ConfigurationError` where the model can't be had. Nothing is unpickled: weights are safetensors.
"""

import dataclasses
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from plaudit.errors import ConfigurationError
from plaudit.policy.dropout import disable_dropout
from plaudit.policy.lora import with_lora
from plaudit.policy.settings import PolicySettings
from plaudit.policy.sources import check_source, explained, is_adapter
from plaudit.policy.special_tokens import choose_pad_token, merge_stop_ids, strip_generation_config

CausalLM = PreTrainedModel | PeftModel


def without_adapter(causal_lm: CausalLM) -> PreTrainedModel:
    """The transformers model; adapters that are switched on stay inside its layers."""
    return cast(PreTrainedModel, causal_lm.get_base_model() if isinstance(causal_lm, PeftModel) else causal_lm)


def read_config(settings: PolicySettings) -> PreTrainedConfig:
    """The config alone of any model: quick, for checks before any long work. Raises ConfigurationError."""
    check_source(settings.model, settings.revision)
    if is_adapter(settings.model):
        return read_config(_base(settings))
    with explained(settings.model):
        config: PreTrainedConfig = AutoConfig.from_pretrained(location(settings), **_options(settings))
    return config


def load_config(settings: PolicySettings) -> PreTrainedConfig:
    """That of a policy. Raises ConfigurationError."""
    config = read_config(settings)
    if config.is_encoder_decoder:
        raise ConfigurationError(f"model '{settings.model}' is an encoder-decoder: a policy is a causal language model")
    return config


def load_tokenizer(settings: PolicySettings) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a pad token that the model knows. Raises ConfigurationError."""
    check_source(settings.model, settings.revision)
    if is_adapter(settings.model) and not (_folder(settings) / "tokenizer_config.json").is_file():
        return load_tokenizer(_base(settings))
    with explained(settings.model):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(location(settings), **_options(settings))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = choose_pad_token(tokenizer)
    return tokenizer


def load_stop_token_ids(settings: PolicySettings, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end a response, ascending: the tokenizer's eos, and those the generation config names.

    Reads the model's small files, not its weights.
    """
    if is_adapter(settings.model):
        return load_stop_token_ids(_base(settings), tokenizer)
    try:
        named = GenerationConfig.from_pretrained(location(settings), revision=settings.revision or "main").eos_token_id
    except OSError:  # no generation_config.json: the config's own token counts, as transformers has it
        named = getattr(load_config(settings), "eos_token_id", None)
    return merge_stop_ids(named, tokenizer.eos_token_id)


def load_causal_lm(settings: PolicySettings, *, weights_dtype: torch.dtype = torch.float32) -> CausalLM:
    """The policy on the CPU, in eval mode. Raises ConfigurationError.

    An adapter folder is merged into its base first, so that "adapter off" is the policy as it was given; then
    `settings.lora` puts a fresh adapter on. `weights_dtype` is for engines that only generate: training needs float32.
    """
    model = _load_merged(settings, weights_dtype)
    disable_dropout(model)
    strip_generation_config(model)
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model if settings.lora is None else with_lora(model, settings.lora, "CAUSAL_LM")


def _load_merged(settings: PolicySettings, dtype: torch.dtype) -> PreTrainedModel:
    load_config(settings)
    if is_adapter(settings.model):
        return _merge_adapter(_load_merged(_base(settings), dtype), settings.model)
    with explained(settings.model):
        loaded: tuple[PreTrainedModel, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]
            location(settings), dtype=dtype, use_safetensors=True, output_loading_info=True, **_options(settings)
        )
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ConfigurationError(
            f"model '{settings.model}' lacks {missing[0]} ({len(missing)} missing): no causal language model?"
        )
    _check_causal(model, settings.model)
    return model


@torch.no_grad()
def _check_causal(model: PreTrainedModel, name: str) -> None:
    """Encoders load as causal language models too, and read the future: what comes later must not change a logit."""
    mask = torch.ones(1, 2, dtype=torch.int64)
    one, other = (model(input_ids=torch.tensor([[0, last]]), attention_mask=mask).logits[0, 0] for last in (0, 1))
    if not torch.allclose(one, other, rtol=1e-4, atol=1e-5):
        raise ConfigurationError(
            f"model '{name}' ({model.config.model_type}) is an encoder: give a causal language model"
        )


def _merge_adapter(base: PreTrainedModel, folder: str) -> PreTrainedModel:
    folder = str(Path(folder).expanduser())
    if not (Path(folder) / "adapter_model.safetensors").is_file():
        raise ConfigurationError(
            f"adapter folder '{folder}' has no adapter_model.safetensors: save it with safetensors"
        )
    with explained(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for what it will rename
        if PeftConfig.from_pretrained(folder).is_prompt_learning:
            raise ConfigurationError(f"adapter '{folder}' is a learnt prompt, which can't be merged: use LoRA")
        merged: PreTrainedModel = PeftModel.from_pretrained(base, folder).merge_and_unload()
    return merged


def _base(settings: PolicySettings) -> PolicySettings:
    """The settings of the model that an adapter folder belongs to."""
    with explained(settings.model):
        name = PeftConfig.from_pretrained(location(settings)).base_model_name_or_path
    if not name:
        raise ConfigurationError(
            f"adapter folder '{settings.model}' doesn't name its base: set base_model_name_or_path there"
        )
    return dataclasses.replace(settings, model=name, revision=None)


def _folder(settings: PolicySettings) -> Path:
    return Path(settings.model).expanduser()


def location(settings: PolicySettings) -> str:
    """Folder or hub name, as the loaders want it."""
    return str(_folder(settings)) if _folder(settings).is_dir() else settings.model


def _options(settings: PolicySettings) -> dict[str, Any]:
    return {"revision": settings.revision or "main", "trust_remote_code": settings.trust_remote_code}
