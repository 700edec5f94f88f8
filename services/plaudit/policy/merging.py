"""Adapters merged into the weights: for saving, and for generation, which then costs what it costs without LoRA."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor


def adapted_layers(model: PeftModel) -> dict[str, LoraLayer]:
    """The layers that carry an adapter, under the base model's names for them."""
    return {name: layer for name, layer in model.get_base_model().named_modules() if isinstance(layer, LoraLayer)}


def delta_weight(layer: Any) -> Tensor:
    """What the active adapters add to a LoraLayer's weight."""
    deltas: list[Tensor] = [layer.get_delta_weight(name) for name in layer.active_adapters if name in layer.lora_A]
    return torch.stack(deltas).sum(0)


@torch.no_grad()
def merged_state(model: PeftModel) -> dict[str, Tensor]:
    """The base model's state with the adapter added in, under the base model's own names. The model stays as it is."""
    layers, state = adapted_layers(model), {}
    for name, tensor in model.get_base_model().state_dict(keep_vars=True).items():
        owner, inside, rest = name.rpartition(".base_layer.")
        if inside and owner in layers:
            state[f"{owner}.{rest}"] = tensor + delta_weight(layers[owner]) if rest == "weight" else tensor
        elif not any(part.startswith("lora_") for part in name.split(".")):
            state[name] = tensor
    return state


class AdapterMerger:
    """Keeps the base weights of the adapted layers aside: each merge starts from them, so nothing drifts."""

    def __init__(self, model: PeftModel) -> None:
        self._model = model
        self._layers: list[Any] = list(adapted_layers(model).values())
        self._pristine = [layer.get_base_layer().weight.detach().clone() for layer in self._layers]

    @torch.no_grad()
    def merge(self) -> None:
        """Puts base + adapter, as the adapter is now, into the layers' weights."""
        for layer, pristine in zip(self._layers, self._pristine, strict=True):
            layer.get_base_layer().weight.copy_(pristine.float() + delta_weight(layer).float())

    def merged(self) -> AbstractContextManager[None]:
        """Within it, the model computes with the merged weights alone."""
        context: AbstractContextManager[None] = self._model.disable_adapter()
        return context
