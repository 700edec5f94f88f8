"""Dropout off: PPO compares log-probabilities of the same tokens from several passes; dropout would set them apart."""

from torch import nn
from transformers import PreTrainedConfig


def disable_dropout(model: nn.Module) -> None:
    """Sets every dropout probability to 0, on the modules and in the config, so that train() changes nothing."""
    for module in model.modules():
        _zero(module)
        if isinstance(config := getattr(module, "config", None), PreTrainedConfig):
            _zero_config(config)


def _zero_config(config: PreTrainedConfig) -> None:
    _zero(config)
    for value in list(vars(config).values()):
        if isinstance(value, PreTrainedConfig):
            _zero_config(value)


def _zero(holder: object) -> None:
    """nn.Dropout keeps `p`; attention layers and configs keep numbers: attention_dropout, attn_pdrop, layerdrop."""
    if isinstance(holder, nn.modules.dropout._DropoutNd):
        holder.p = 0.0
    for name, value in list(vars(holder).items()):
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(holder, name, 0.0)
