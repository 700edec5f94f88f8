"""Several models of one server asked together: how far they agree says how far a score can be trusted.

Rewards that are maximised against one model find its errors; the minimum of several, or their mean less their spread,
is harder to fool (Coste et al., Reward Model Ensembles Help Mitigate Overoptimization, 2023).
"""

import asyncio
import hashlib
import json
import math
from collections.abc import Sequence

from plaudit.reward.admission import Admission
from plaudit.reward.errors import NonfiniteScore, RequestError
from plaudit.reward.items import (
    Answer,
    Card,
    Deadline,
    Durations,
    EnsembleScore,
    Item,
    MemberScore,
    Outcome,
    Scored,
)
from plaudit.reward.served import Served
from plaudit.reward.settings import EnsembleSettings


class EnsembleModel:
    """A Served over others. Its scores are made of their calibrated ones, so that members of any scale agree on it.

    An item has a score when every member gives it one, else the first failure: never a mean of those that answered.
    """

    def __init__(self, name: str, settings: EnsembleSettings, members: Sequence[Served]) -> None:
        self.card = _card(name, settings, [member.card for member in members])
        self.admission = Admission(float("inf"), float("inf"))  # the members' own are the ones that refuse
        self._settings, self._members = settings, members

    async def score(self, items: Sequence[Item], deadline: Deadline) -> Answer:
        """See Served.score; what refuses or ends one member's call ends all of them."""
        calls = [asyncio.ensure_future(member.score(items, deadline)) for member in self._members]
        try:
            answers = await asyncio.gather(*calls)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        outcomes = [self._combined(one) for one in zip(*(answer.outcomes for answer in answers), strict=True)]
        times = zip(*(answer.durations for answer in answers), strict=True)
        return Answer(outcomes, Durations(*map(max, times)))

    def beating(self, patience: float) -> bool:
        """Its members answer for themselves."""
        return True

    def lost(self) -> bool:
        """As `beating`."""
        return False

    def away(self) -> bool:
        """As `beating`."""
        return False

    def close(self) -> None:
        """Its members are closed as models of their own."""

    def _combined(self, outcomes: Sequence[Outcome]) -> Outcome:
        for outcome in outcomes:
            if isinstance(outcome, RequestError):
                return outcome
        scored = [outcome for outcome in outcomes if isinstance(outcome, Scored)]
        names = [member.card.resource for member in self._members]
        members = [MemberScore(name, one.score, one.raw) for name, one in zip(names, scored, strict=True)]
        told = combined(self._settings, members)
        if isinstance(told, NonfiniteScore):
            return told
        score, spread = told
        tokens = max(one.input_tokens for one in scored), max(one.truncated_tokens for one in scored)
        return Scored(score, score, *tokens, cached=all(one.cached for one in scored), ensemble=spread)


def combined(
    settings: EnsembleSettings, members: Sequence[MemberScore]
) -> tuple[float, EnsembleScore] | NonfiniteScore:
    """The one score of an item that all of them scored, and how they lie; served and evaluated alike."""
    told = _spread(members)
    score = combine(settings, told)
    if not math.isfinite(told.std):  # finite scores may lie further apart than a number can say
        return NonfiniteScore("the members' spread is no finite number")
    return (score, told) if math.isfinite(score) else NonfiniteScore()


def combine(settings: EnsembleSettings, spread: EnsembleScore) -> float:
    """The one score of an ensemble, as its settings ask."""
    match settings.combine:
        case "mean":
            return spread.mean
        case "minimum":
            return spread.minimum
        case "mean_minus_std":
            return spread.mean - settings.k * spread.std


def _spread(members: Sequence[MemberScore]) -> EnsembleScore:
    scores = [member.score for member in members]
    mean = sum(scores) / len(scores)
    variance = sum((score - mean) * (score - mean) for score in scores) / (len(scores) - 1)
    return EnsembleScore(mean, math.sqrt(variance), min(scores), tuple(members))


def _card(name: str, settings: EnsembleSettings, members: Sequence[Card]) -> Card:
    """What all members share, and a version that changes with any of them."""
    identities = [(card.resource, card.weights_sha256, card.rendering_sha256, card.calibration_id) for card in members]
    how = f"{settings.combine}, k {settings.k:g}" if settings.combine == "mean_minus_std" else settings.combine
    digest = _sha256([how, identities])
    calibrations = [card.calibration_id for card in members]
    return Card(
        name=name,
        version=digest[:12],
        weights_sha256=digest,
        rendering_sha256=_shared([card.rendering_sha256 for card in members]),
        tokenizer_sha256=_shared([card.tokenizer_sha256 for card in members]),
        calibration_id=f"ensemble-{_sha256(calibrations)[:12]}" if any(calibrations) else "",
        dtype=_shared([card.dtype for card in members]) or "mixed",
        display_name=f"{how} of {', '.join(card.name for card in members)}",
        max_tokens=min((card.max_tokens for card in members if card.max_tokens), default=0),
        truncation="error" if any(card.truncation == "error" for card in members) else "left_prompt",
        members=tuple(card.resource for card in members),
    )


def _shared(values: Sequence[str]) -> str:
    """The value that all have, or none."""
    return values[0] if len(set(values)) == 1 else ""


def _sha256(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree).encode()).hexdigest()
