"""The settings of the HTTP forms."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.settings import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FormSettings:
    """HTTP in the forms of other reward servers, so that their clients need another address and nothing else."""

    address: str = "127.0.0.1:8000"  # port 0 takes any free one
    model: str = ""  # answers where a caller names none; empty: the first one
    names: Mapping[str, str] = field(default_factory=dict)  # what callers name a model, such as its path: its name here
    score: Literal["raw", "calibrated"] = "raw"  # what these forms give; our own JSON has both
    activation: Literal["asked", "theirs"] = "asked"  # a caller who says nothing of it: no sigmoid, or what they do
    timeout: Annotated[float, Field(gt=0)] = 120.0  # seconds from a call's first byte to its answer

    def check(self, models: set[str]) -> None:
        """Raises ValueError for a name that none of these models has."""
        for key, named in (("model", {self.model} - {""}), ("names", set(self.names.values()))):
            if unknown := named - models:
                raise ValueError(f"forms.{key}: '{min(unknown)}' is no model of this server")
