"""Saving a policy as a standard Hugging Face folder, whole or not at all.

folder/
  config.json  generation_config.json  model.safetensors  tokenizer files     loads with AutoModelForCausalLM or vLLM
  adapter/                                                                    with LoRA: the adapter alone, beside
                                                                              the merged weights above
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from plaudit.policy.loading import CausalLM


def save_policy(model: CausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the policy to `folder`, which is replaced at once if it exists. The live model stays as it is."""
    with _whole_or_not_at_all(folder) as partial:
        if isinstance(model, PeftModel):
            base = model.get_base_model()
            assert isinstance(base, PreTrainedModel)
            base.save_pretrained(partial, state_dict=merged_state(model))
            model.save_pretrained(str(partial / "adapter"), save_embedding_layers=False)
        else:
            model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


@torch.no_grad()
def merged_state(model: PeftModel) -> dict[str, Tensor]:
    """The base model's state with the adapter added in, under the base model's own names.

    Only what the adapter touches is copied; nothing is added to the live weights and taken off again, which would
    let them drift.
    """
    layers = {name: layer for name, layer in model.get_base_model().named_modules() if isinstance(layer, LoraLayer)}
    state = {}
    for name, tensor in model.get_base_model().state_dict().items():
        owner, inside, rest = name.rpartition(".base_layer.")
        if inside and owner in layers:
            delta = _delta(layers[owner]) if rest == "weight" and not layers[owner].merged else 0
            state[f"{owner}.{rest}"] = tensor + delta
        elif not any(part.startswith("lora_") for part in name.split(".")):
            state[name] = tensor
    return state


def _delta(layer: Any) -> Tensor:
    """What the active adapters add to a layer's weight."""
    deltas: list[Tensor] = [layer.get_delta_weight(name) for name in layer.active_adapters if name in layer.lora_A]
    return torch.stack(deltas).sum(0)


@contextmanager
def _whole_or_not_at_all(folder: Path) -> Iterator[Path]:
    """A sibling folder to write into, renamed to `folder` when all is written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (folder.with_name(f".{folder.name}.{kind}-{os.getpid()}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
