"""Best first: the order that scores put candidates in."""

from collections.abc import Sequence
from typing import NamedTuple

from plaudit.reward.items import Outcome, Scored


class Ranking(NamedTuple):
    """Positions of candidates."""

    ranked: list[int]  # best first; equal scores in the order given
    unranked: list[int]  # those without a score, in the order given


def rank(outcomes: Sequence[Outcome], top_n: int) -> Ranking:
    """The best `top_n` of them, or all where it is 0."""
    scores = {at: one.score for at, one in enumerate(outcomes) if isinstance(one, Scored)}
    ranked = sorted(scores, key=lambda at: -scores[at])  # sorting is stable
    return Ranking(ranked[:top_n] if top_n else ranked, [at for at in range(len(outcomes)) if at not in scores])
