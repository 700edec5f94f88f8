"""Rewards of different models, made comparable."""

import hashlib
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.settings import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Calibration:
    """score = (raw - mean) / std, so that rewards of different models compare."""

    mean: float
    std: Annotated[float, Field(gt=0)]

    @property
    def id(self) -> str:
        """Names these two numbers."""
        return "mean-std-" + hashlib.sha256(f"{self.mean!r},{self.std!r}".encode()).hexdigest()[:12]

    def apply(self, raw: float) -> float:
        """The calibrated score."""
        return (raw - self.mean) / self.std
