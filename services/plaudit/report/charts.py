"""Line charts as geometry: numbers in, SVG paths and label positions out. The template draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from plaudit.report.axes import Scale, domain, label, root_ticks, step_ticks, ticks, widened
from plaudit.report.formatting import number

WIDTH, HEIGHT = 400.0, 208.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 20.0, 24.0
MOST_POINTS, MOST_READINGS = 600, 100
COUNTED = ("step", "round")
"""Axes of whole numbers, evenly spaced."""


@dataclass(frozen=True)
class Series:
    """One curve. `values` and the band's edges align with `steps`; NaN leaves a gap."""

    label: str
    tone: str  # names its colour in the style sheet
    steps: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()  # lower edge of the band, such as value - standard error
    high: Sequence[float] = ()
    area: bool = False  # the filled band is the curve: one layer of a stack

    @property
    def last(self) -> str:
        known = [value for value in self.values if math.isfinite(value)]
        return number(known[-1]) if known else number(None)


@dataclass(frozen=True)
class Mark:
    """A tick or a reference line: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A series as SVG paths."""

    series: Series
    line: str
    band: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Reading:
    """What shows while the pointer is over one step."""

    left: float
    width: float
    at: float
    text: str
    dots: list[tuple[float, float, str]]  # x, y, tone


@dataclass(frozen=True)
class Chart:
    """Everything the template draws, in the units of its view box."""

    title: str
    unit: str
    note: str
    along: str = "step"  # what the horizontal axis is
    curves: list[Curve] = field(default_factory=list)
    x_ticks: list[Mark] = field(default_factory=list)
    y_ticks: list[Mark] = field(default_factory=list)
    references: list[Mark] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    @property
    def description(self) -> str:
        """For those who hear the page."""
        ends = "; ".join(f"{curve.series.label} ends at {curve.series.last}" for curve in self.curves)
        return f"{self.title} ({self.unit}) by {self.along}: {ends or 'no data'}"


def chart(
    title: str,
    unit: str,
    series: Sequence[Series],
    note: str = "",
    references: Sequence[tuple[float, str]] = (),
    zero: bool = False,
    span: tuple[float, float] | None = None,
    along: str = "step",
) -> Chart:
    """A chart of all `series` on one pair of axes.

    `zero` keeps 0 on the vertical axis; `span` is the first and the last step, so that charts can be compared. Whatever
    is not counted, a KL, is drawn by its square root (Gao et al. 2023): it grows with the square of the way, at first.
    """
    kept = [one for one in series if any(map(math.isfinite, one.values))]
    if not kept:
        return Chart(title, unit, note, along)
    steps = sorted({step for one in kept for step in one.steps})
    heights = _finite([v for one in kept for v in (*one.values, *one.low, *one.high)]) + [at for at, _ in references]
    low, high = domain(heights, zero)
    y_ticks = ticks(low, high)
    first, last = span or (steps[0], steps[-1])
    x = Scale(*widened(first, last), LEFT, WIDTH - RIGHT, root=along not in COUNTED)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    return Chart(
        title,
        unit,
        note,
        along,
        curves=[_curve(one, x, y) for one in kept],
        x_ticks=_x_ticks(x, first, last, along),
        y_ticks=[Mark(y(at), label(at, y_ticks[1] - y_ticks[0])) for at in y_ticks],
        references=[Mark(y(at), text) for at, text in references],
        readings=_readings(kept, steps, x, y, along),
    )


def _x_ticks(x: Scale, first: float, last: float, along: str) -> list[Mark]:
    if along in COUNTED:
        return [Mark(x(at), label(at, 1.0)) for at in step_ticks(first, last)]
    return [Mark(x(at), f"{at:g}") for at in root_ticks(x.high)]


def stacked(title: str, unit: str, layers: Sequence[Series], span: tuple[float, float] | None = None) -> Chart:
    """The layers on top of each other; each keeps its own values as what it says."""
    floor = [0.0] * (len(layers[0].steps) if layers else 0)
    stack = []
    for layer in layers:
        ceiling = [low + value for low, value in zip(floor, layer.values, strict=True)]
        stack.append(Series(layer.label, layer.tone, layer.steps, layer.values, floor, ceiling, area=True))
        floor = ceiling
    return chart(title, unit, stack, zero=True, span=span)


def thinned(series: Series) -> list[int]:
    """Indices to draw: of a long series the lowest and highest of each stretch, so that no spike is lost."""
    total = len(series.steps)
    if total <= MOST_POINTS:
        return list(range(total))
    stretch = math.ceil(2 * total / MOST_POINTS)
    kept: set[int] = set()
    for start in range(0, total, stretch):
        indices = [i for i in range(start, min(total, start + stretch)) if math.isfinite(series.values[i])]
        ends = (min, max) if indices else ()
        kept.update(end(indices, key=series.values.__getitem__) for end in ends)
        kept.update([] if indices else [start])  # a gap stays a gap
    return sorted(kept)


def _curve(series: Series, x: Scale, y: Scale) -> Curve:
    indices = thinned(series)
    runs = _unbroken(indices, series.values)
    points = {i: (x(series.steps[i]), y(series.values[i])) for run in runs for i in run}
    line = "" if series.area else "".join(_path([points[i] for i in run]) for run in runs if len(run) > 1)
    sparse = len(points) <= 12 or all(len(run) == 1 for run in runs)
    dots = [] if series.area else list(points.values()) if sparse else [points[run[0]] for run in runs if len(run) == 1]
    return Curve(series, line, "".join(_band(series, run, x, y) for run in runs), dots)


def _band(series: Series, run: Sequence[int], x: Scale, y: Scale) -> str:
    run = [i for i in run if series.low and math.isfinite(series.low[i]) and math.isfinite(series.high[i])]
    if len(run) < 2:
        return ""
    upper = [(x(series.steps[i]), y(series.high[i])) for i in run]
    lower = [(x(series.steps[i]), y(series.low[i])) for i in reversed(run)]
    return _path(upper + lower) + "Z"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{px:g},{py:g}" for px, py in points)


def _unbroken(indices: Sequence[int], values: Sequence[float]) -> list[list[int]]:
    """Stretches without a gap."""
    runs: list[list[int]] = [[]]
    for index in indices:
        if math.isfinite(values[index]):
            runs[-1].append(index)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _readings(series: Sequence[Series], steps: Sequence[float], x: Scale, y: Scale, along: str) -> list[Reading]:
    every = math.ceil(len(steps) / MOST_READINGS)
    shown = steps[::every]
    edges = [LEFT, *((x(a) + x(b)) / 2 for a, b in pairwise(shown)), WIDTH - RIGHT]
    return [
        _reading(series, along, step, left, right, x, y)
        for step, left, right in zip(shown, edges, edges[1:], strict=False)
    ]


def _reading(
    series: Sequence[Series], along: str, step: float, left: float, right: float, x: Scale, y: Scale
) -> Reading:
    here = [(one, one.steps.index(step)) for one in series if step in one.steps]
    known = [(one, i, one.values[i]) for one, i in here if math.isfinite(one.values[i])]
    texts = [f"{one.label} {number(value)}" for one, _, value in known] or ["not finite"]
    if len(known) > 3 and known[0][0].area:  # a stack: no room for all
        texts = [f"total {number(math.fsum(value for _, _, value in known))}"]
    dots = [(x(step), y(one.high[i] if one.area else value), one.tone) for one, i, value in known]
    return Reading(round(left, 1), round(right - left, 1), x(step), " · ".join([f"{along} {step:g}", *texts]), dots)


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
