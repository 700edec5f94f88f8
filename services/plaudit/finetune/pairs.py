"""Preferences one by one, each a ranking of two: what a reward model learns from them is Bradley and Terry's loss.

The weights that come of it are those of trl's RewardTrainer, which knows margins and centring, and neither weights nor
ties.
"""

from collections.abc import Sequence

from plaudit.finetune.rankings import RenderedRankings
from plaudit.finetune.token_rows import Ids
from plaudit.preferences.reading import Preference, Ranking, read_preferences
from plaudit.rows import DataSettings


class RenderedPairs(RenderedRankings):
    """The chosen side comes first."""

    NAMED = "pairs"

    @staticmethod
    def read(data: DataSettings, *, ties: bool) -> Sequence[Ranking]:
        return list(map(pair, read_preferences(data, ties=ties)))

    @property
    def chosen_ids(self) -> list[Ids]:
        return [chosen for chosen, _ in self.ids]

    @property
    def rejected_ids(self) -> list[Ids]:
        return [rejected for _, rejected in self.ids]


def pair(preference: Preference) -> Ranking:
    """The same, as a ranking."""
    one = preference
    ranks = (1.0, 1.0) if one.tie else (1.0, 2.0)
    return Ranking((one.chosen, one.rejected), ranks, one.where, one.margin, one.subset, one.annotator, one.weight)
