"""Which model is the policy, and how it is computed."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.settings import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoraSettings:
    """Low-rank adapters (Hu et al. 2021): of W x + (alpha / rank) B A x only A and B are trained."""

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    target_modules: list[str] | str = "all-linear"  # layer names, a regular expression, or all but the output layer
    seed: int = 0  # of A's initial values; B starts at 0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PolicySettings:
    """A Hugging Face causal language model."""

    model: Annotated[str, Field(min_length=1)]  # a folder, or a name on the Hugging Face hub
    revision: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the learner's computation; master weights are always float32
    lora: LoraSettings | None = None
    gradient_checkpointing: bool = False
    trust_remote_code: bool = False  # runs Python that ships with the model
