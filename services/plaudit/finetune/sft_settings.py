"""The settings of `plaudit sft`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.finetune.training import TrainingSettings
from plaudit.policy.prompting import Template
from plaudit.policy.settings import PolicySettings
from plaudit.rows import DataSettings
from plaudit.settings import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SFTSettings:
    """One training run."""

    policy: PolicySettings
    data: DataSettings
    output: Path  # a standard Hugging Face folder; LoRA is merged into the weights
    eval_data: DataSettings | None = None  # what the loss is measured on; None: a part of `data`
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05  # of the prompts in `data`, where there is no `eval_data`
    template: Template = "plain"
    max_tokens: Annotated[int, Field(gt=1)] | None = None  # longer rows are left out; None: the model's context
    training: TrainingSettings = TrainingSettings()
