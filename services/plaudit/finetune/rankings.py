"""Rankings as the token ids a reward model reads, and what it learns from all pairs of a ranking at once.

The mean of -log sigmoid(r(better) - r(worse) - margin) over the pairs of each ranking (Ouyang et al. 2022, eq. 1): a
response runs once, not once per pair. Where the pairs of a ranking are shuffled among others, the model is shown each
response K - 1 times in an epoch, and overfits; and a ranking of nine counts as 36 of two. Equal ranks say nothing, or,
with `ties: half`, are pairs as well (`bradley_terry.py`).
"""

from collections.abc import Sequence
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plaudit.finetune.bradley_terry import centring, pair_losses
from plaudit.finetune.fitting import Element, Fitting, Loss, Told
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.preferences.agreement import Agreement, agreement
from plaudit.preferences.reading import Preference, Ranking, read_rankings
from plaudit.rows import DataSettings


class RenderedRankings(Fitting[Ranking]):
    """Rankings as a row of ids for each response."""

    NAMED = "rankings"
    SHOWN = "accuracy"

    @staticmethod
    def read(data: DataSettings, *, ties: bool) -> Sequence[Ranking]:
        return read_rankings(data, ties=ties)

    def elements(self, settings: RewardModelSettings) -> list[Element]:
        """With the places of those who differ, and of those who tie where these say something."""
        return [
            {
                "ids": ids,
                "weight": weight,
                "pairs": ranking.pairs,
                "ties": ranking.ties if settings.ties == "half" else [],
                "margin": ranking.margin or 0.0,
            }
            for ranking, ids, weight in zip(self.judgements, self.ids, self.weights, strict=True)
        ]

    @staticmethod
    def told(elements: Sequence[Element]) -> Told:
        """Places `pairs` (P, 2) among all responses, of each pair margin, whether it ties, and weight (P,): those of a
        ranking sum to its own."""
        pairs: list[tuple[int, int]] = []
        margins: list[float] = []
        ties: list[bool] = []
        weights: list[float] = []
        first = 0
        for element in elements:
            found = element["pairs"] + element["ties"]
            pairs += [(first + one, first + other) for one, other in found]
            margins += [element["margin"]] * len(found)
            ties += [False] * len(element["pairs"]) + [True] * len(element["ties"])
            weights += [element["weight"] / len(found)] * len(found)
            first += len(element["ids"])
        told = {"pairs": pairs, "margins": margins, "ties": ties, "weights": weights}
        return {name: torch.tensor(values) for name, values in told.items()}

    def loss(self, settings: RewardModelSettings) -> Loss:
        return partial(k_wise, centre=settings.center_rewards_coefficient)

    def watched(self, rewards: Tensor, told: Told) -> Told:
        """Of pairs that differ, how many are right; the same score for both is half."""
        better, worse = rewards[told["pairs"][~told["ties"]]].unbind(dim=1)
        return super().watched(rewards, told) | {"accuracy": 0.5 * (1.0 + (better - worse).sign())}

    def measure(self, scores: npt.NDArray[np.float64], training: Self) -> Agreement | None:
        """How often scores (n,) of `rows` agree with the pairs, the length rule beside it. None where all are ties."""
        preferences: list[Preference] = []
        places: list[tuple[int, int]] = []
        first = 0
        for ranking in self.judgements:
            preferences += ranking.preferences
            places += [(first + better, first + worse) for better, worse in ranking.pairs]
            first += len(ranking.sides)
        if not places:
            return None
        better, worse = np.array(places).T
        return agreement(scores[better], scores[worse], preferences)


def k_wise(rewards: Tensor, told: Told, centre: float | None = None) -> Tensor:
    """The sum over rankings, of rewards (R,); see `RenderedRankings.told`."""
    first, second = rewards[told["pairs"]].unbind(dim=1)
    losses = pair_losses(first, second, told["margins"], told["ties"])
    if centre is not None:
        losses = losses + centring(first, second, centre)
    return (told["weights"] * losses).sum()
