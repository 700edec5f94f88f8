"""Fresh low-rank adapters on a model."""

import warnings
from typing import Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from plaudit.errors import ConfigurationError, first_line
from plaudit.policy.settings import LoraSettings


def with_lora(model: PreTrainedModel, lora: LoraSettings, task: Literal["CAUSAL_LM", "SEQ_CLS"]) -> PeftModel:
    """Adapters with the same initial values in every process, whatever its random state.

    A classifier's head is trained whole: peft knows its name for every classifier of transformers.
    """
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides by the rank; fractions are fine
        target_modules=lora.target_modules,
        lora_dropout=0.0,
        task_type=task,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peft about settings that it corrects by itself
        torch.manual_seed(lora.seed)
        try:
            adapted: PeftModel = get_peft_model(model, config)
        except ValueError as error:
            raise ConfigurationError(f"lora.target_modules {lora.target_modules!r}: {first_line(error)}") from None
    return adapted
