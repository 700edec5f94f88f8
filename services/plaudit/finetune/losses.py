"""What depends on the kind of judgement.

loss                   rows                                  what is learnt
bradley_terry          preferences, or pairs of a ranking    of two responses one is better, or they tie
k_wise                 rankings                              the same of all pairs of a ranking at once
squared_error          ratings                               a response has a score
binary_cross_entropy   thumbs                                a response is good, or it is not
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from plaudit.finetune.pairs import RenderedPairs, pairs_trainer, render_pairs
from plaudit.finetune.rankings import RenderedRankings, rankings_trainer, render_rankings
from plaudit.finetune.ratings import RenderedRatings, ratings_trainer, render_ratings
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.thumbs import RenderedThumbs, render_thumbs, thumbs_trainer
from plaudit.preferences.agreement import Agreement
from plaudit.preferences.ratings import Fit, read_ratings
from plaudit.preferences.reading import read_preferences, read_rankings
from plaudit.preferences.thumbs import Discrimination, read_thumbs
from plaudit.rows import DataSettings

Rendered = RenderedPairs | RenderedRankings | RenderedRatings | RenderedThumbs
Measured = Agreement | Fit | Discrimination


class Loss(NamedTuple):
    """A row's type with it."""

    read: Callable[..., list[Any]]
    prompt: Callable[[Any], object]
    render: Callable[..., Any]
    trainer: Callable[..., Any]
    shown: str  # beside the progress bar


LOSSES = {
    "bradley_terry": Loss(read_preferences, lambda row: row.chosen.prompt, render_pairs, pairs_trainer, "accuracy"),
    "k_wise": Loss(read_rankings, lambda row: row.sides[0].prompt, render_rankings, rankings_trainer, "loss"),
    "squared_error": Loss(read_ratings, lambda row: row.side.prompt, render_ratings, ratings_trainer, "loss"),
    "binary_cross_entropy": Loss(read_thumbs, lambda row: row.side.prompt, render_thumbs, thumbs_trainer, "loss"),
}


def read_judgements(settings: RewardModelSettings, data: DataSettings) -> list[Any]:
    """All rows of the data that say something."""
    asked = {"ties": True} if settings.ties == "half" else {}
    return LOSSES[settings.loss].read(data, **asked)
