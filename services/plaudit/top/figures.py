"""Numbers as a terminal shows them: few digits, and curves a line high."""

import math
from collections.abc import Sequence

NONE = "-"
BLOCKS = "▁▂▃▄▅▆▇█"


def figure(value: float | None) -> str:
    """About three digits: 0.041, 3.21, 43.1, 1,240."""
    if value is None:
        return NONE
    size = abs(value)
    if not math.isfinite(value) or size >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    if 0 < size < 0.0005:
        return f"{value:.0e}"
    return f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"


def signed(value: float | None) -> str:
    """The same, with its sign."""
    return f"+{figure(value)}" if value is not None and value > 0 else figure(value)


def percent(share: float | None) -> str:
    """52 %, 0.4 %."""
    if share is None or not math.isfinite(share):
        return NONE
    return f"{100 * share:.{0 if share >= 0.1 or not share else 1}f} %"


def duration(seconds: float | None) -> str:
    """12.3 ms, 3.2 s, 45 s, 12 min, 2 h 05 min, 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 1:
        return f"{figure(1000 * seconds)} ms" if seconds else "0 s"
    if seconds < 60:
        return f"{seconds:.{0 if seconds >= 10 else 1}f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def curve(values: Sequence[float | None], floor: float | None = None) -> str:
    """A block for each value, from `floor` (the smallest, where None) to the largest; a space where none is known."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return ""
    low = min(known) if floor is None else floor
    span = max(known) - low
    level = len(BLOCKS) - 1

    def block(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        if not span:
            return BLOCKS[level // 2 if floor is None else 0]
        return BLOCKS[max(0, round((value - low) / span * level))]

    return "".join(map(block, values))
