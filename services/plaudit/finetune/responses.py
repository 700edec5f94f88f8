"""What is judged by itself, one response a judgement: what ratings and thumbs share."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import torch

from plaudit.finetune.fitting import Element, Fitting, Told
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.preferences.ratings import Rating
from plaudit.preferences.thumbs import Thumb

R = TypeVar("R", bound=Rating | Thumb, covariant=True)


class RenderedResponses(Fitting[R]):
    """As one row of ids each."""

    @property
    @abstractmethod
    def labels(self) -> Sequence[float]:
        """(n,) what was said."""

    def elements(self, settings: RewardModelSettings) -> list[Element]:
        """With its label."""
        rows = zip(self.ids, self.weights, self.labels, strict=True)
        return [{"ids": ids, "weight": weight, "label": label} for ids, weight, label in rows]

    @staticmethod
    def told(elements: Sequence[Element]) -> Told:
        """Labels and weights (R,)."""
        told = {"labels": "label", "weights": "weight"}
        return {name: torch.tensor([element[field] for element in elements]) for name, field in told.items()}
