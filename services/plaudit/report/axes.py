"""Axes: scales, round ticks and their labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plaudit.report.formatting import fixed, power


@dataclass(frozen=True)
class Scale:
    """A map from data to the page: linear, or in the square root of data (of either sign)."""

    low: float
    high: float
    start: float
    end: float
    root: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._along(self.low), self._along(self.high)
        return round(self.start + (self._along(value) - low) / (high - low) * (self.end - self.start), 1)

    def _along(self, value: float) -> float:
        return math.copysign(math.sqrt(abs(value)), value) if self.root else value


def domain(values: Sequence[float], zero: bool) -> tuple[float, float]:
    """What an axis spans: the values and a little air; with `zero` also 0, and no air beyond it."""
    low, high = widened(min(values), max(values))
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    air = 0.05 * (high - low)
    return (low if zero and low == 0 else low - air), (high if zero and high == 0 else high + air)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) inside [low, high]."""
    step = _round_step((high - low) / count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 15) for index in range(first, last + 1)]


def step_ticks(first: float, last: float) -> list[float]:
    """Whole numbers inside [first, last]."""
    if first == last:
        return [first]
    step = max(1.0, float(math.ceil(_round_step((last - first) / 5))))
    return [index * step for index in range(math.ceil(first / step), math.floor(last / step) + 1)]


def root_ticks(last: float) -> list[float]:
    """0 and round numbers (1, 2 or 5 times a power of ten) up to `last`, an eighth of a root scale apart or more."""
    if last <= 0:
        return [0.0] if last == 0 else []
    top = math.floor(math.log10(last))
    powers = (10.0**exponent for exponent in range(top - 2, top + 1))
    candidates = [factor * power for power in powers for factor in (1, 2, 5) if factor * power <= last]
    marks: list[float] = []
    for at in reversed(candidates):
        room = math.sqrt(marks[-1]) - math.sqrt(at) if marks else math.inf
        if min(room, math.sqrt(at)) >= math.sqrt(last) / 8:
            marks.append(at)
    return [0.0, *reversed(marks)]


def label(value: float, step: float) -> str:
    """A tick's text, with the decimals its axis needs."""
    if value and (abs(value) >= 1e6 or step < 1e-4):
        return power(value, 3)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    scaled = step * 10**places
    places += abs(scaled - round(scaled)) > 1e-6  # 2.5 needs one more than 2
    return fixed(value, places if value else 0)


def widened(low: float, high: float) -> tuple[float, float]:
    """A range of some width, also around a single value."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def _round_step(rough: float) -> float:
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * (1 - 1e-9))
