"""Rewards that are a rule: no model, the same service."""

import re
from collections.abc import Callable

from plaudit.reward.settings import DigitsSettings, KeywordSettings

Pair = tuple[str, str]

NUMBER = re.compile(r"\b\d+\b")


def rule(settings: DigitsSettings | KeywordSettings) -> Callable[[list[Pair]], list[float]]:
    """From (prompt, response) pairs to scores."""
    score = digits if isinstance(settings, DigitsSettings) else _keyword(settings)

    def score_all(pairs: list[Pair]) -> list[float]:
        return [score(prompt + response if settings.scope == "full_text" else response) for prompt, response in pairs]

    return score_all


def digits(text: str) -> float:
    """0.2 for every number in `text`, at most 1; -0.2 when there is none."""
    numbers = len(NUMBER.findall(text))
    return min(1.0, numbers / 5) if numbers else -0.2


def _keyword(settings: KeywordSettings) -> Callable[[str], float]:
    flags = re.NOFLAG if settings.case_sensitive else re.IGNORECASE
    word = re.compile(rf"(?<!\w){re.escape(settings.word)}(?!\w)", flags)
    return lambda text: 1.0 if word.search(text) else 0.0
