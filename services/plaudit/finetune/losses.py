"""What depends on the kind of judgement.

loss                   rows                                  what is learnt
bradley_terry          preferences, or pairs of a ranking    of two responses one is better, or they tie
k_wise                 rankings                              the same of all pairs of a ranking at once
squared_error          ratings                               a response has a score
binary_cross_entropy   thumbs                                a response is good, or it is not
"""

from plaudit.finetune.fitting import Fitting, Judged
from plaudit.finetune.pairs import RenderedPairs
from plaudit.finetune.rankings import RenderedRankings
from plaudit.finetune.ratings import RenderedRatings
from plaudit.finetune.thumbs import RenderedThumbs

LOSSES: dict[str, type[Fitting[Judged]]] = {
    "bradley_terry": RenderedPairs,
    "k_wise": RenderedRankings,
    "squared_error": RenderedRatings,
    "binary_cross_entropy": RenderedThumbs,
}
