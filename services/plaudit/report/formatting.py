"""How numbers, times and model text look on the page."""

import math
from collections.abc import Iterable
from typing import Any

from plaudit.uncertainty import Estimate

MINUS, TIMES, NARROW_SPACE, MISSING = "\u2212", "\u00d7", "\u202f", "\u2013"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> str:
    """About three significant digits: 0.123, 12.3, 1,234, 1.2×10⁻⁵."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if size < 1e-15:  # of sums that cancel
        return fixed(0, 0)
    if float(value).is_integer() and size < 1e7:
        return fixed(value, 0)
    if size >= 1e7 or size < 1e-3:
        return power(value)
    return fixed(value, 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3)


def power(value: float, digits: int = 2) -> str:
    """Times a power of ten: 1.2×10⁻⁵."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}{TIMES}10{str(int(exponent)).translate(SUPERSCRIPTS)}".replace("-", MINUS)


def fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def signed(value: float, decimals: int) -> str:
    return f"{value:+,.{decimals}f}".replace("-", MINUS)


def decimals(estimates: Iterable[Estimate | None]) -> int:
    """So many that the smallest standard error shows two significant digits, between 2 and 5."""
    errors = [e.standard_error for e in estimates if e is not None and e.standard_error]
    return max(2, min(5, 1 - math.floor(math.log10(min(errors))))) if errors else 3


def error(estimate: Estimate | None, places: int) -> str:
    """The standard error alone, as "±0.012"; nothing where none is known."""
    if estimate is None or estimate.standard_error is None:
        return ""
    return f"±{fixed(estimate.standard_error, places)}"


def with_error(estimate: Estimate | None, places: int | None = None) -> str:
    """Value and standard error, as "0.512 ±0.012"."""
    if estimate is None:
        return MISSING
    places = decimals([estimate]) if places is None else places
    return f"{fixed(estimate.value, places)} {error(estimate, places)}".rstrip()


def duration(seconds: float | None) -> str:
    """For instance "0.42 s", "12.3 s", "3 min 42 s", "2 h 05 min"."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.{2 if seconds < 10 else 1}f}{NARROW_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NARROW_SPACE}min {rest:02d}{NARROW_SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW_SPACE}h {minutes:02d}{NARROW_SPACE}min"


def memory(size: float | None) -> str:
    """Bytes in GiB or MiB."""
    if size is None:
        return MISSING
    gibibytes = size / 2**30
    return f"{gibibytes:.2f}{NARROW_SPACE}GiB" if gibibytes >= 1 else f"{size / 2**20:.0f}{NARROW_SPACE}MiB"


def percent(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{100 * ratio:.1f}{NARROW_SPACE}%"
