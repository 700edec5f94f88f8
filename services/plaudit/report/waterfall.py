"""Waterfalls as geometry: one step's trace, who was at what and when. The template draws them.

A lane for the trainer and its phases, one for each rollout worker and its groups, one for the reward server: a frame
for each request as its client saw it, in it the stages that the server told of. What overlaps lies in rows of its own.
In an overlapped run workers and server are at what other steps will learn from: all that touches the step's time is
drawn, whichever trace it is of, and cut where the step begins and ends.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median_low

from plaudit.report.axes import Scale, label, ticks
from plaudit.report.charts import RIGHT, WIDTH, Mark
from plaudit.report.curves import PHASES
from plaudit.report.formatting import duration, number
from plaudit.report.run_folder import Span

LEFT, TOP, BOTTOM = 84.0, 6.0, 22.0
ROW, GAP = 13.0, 9.0
MOST_ROWS, MOST_WORKERS = 8, 16
LEAST_WIDTH = 0.8
"""Of a bar: what took no time at all can still be seen."""
STAGES = {"tokenize": "teal", "queue": "grey", "forward": "gold"}
TRAINER, SERVER = "trainer", "reward server"


@dataclass(frozen=True)
class Bar:
    """One span."""

    x: float
    y: float
    width: float
    tone: str
    text: str  # shown where the pointer rests


@dataclass(frozen=True)
class Lane:
    """One process."""

    name: str
    y: float  # of its name
    top: float
    bottom: float
    frames: list[Bar]
    bars: list[Bar]


@dataclass(frozen=True)
class Waterfall:
    """Everything the template draws, in the units of its view box."""

    title: str
    seconds: float
    height: float
    lanes: list[Lane]
    x_ticks: list[Mark]
    legend: list[tuple[str, str, str]]  # tone, name, how long
    note: str

    @property
    def description(self) -> str:
        """For those who hear the page."""
        phases = ", ".join(f"{name} {spent}" for _, name, spent in self.legend if spent)
        return f"{self.title}: {duration(self.seconds)}; {phases}; lanes: {', '.join(lane.name for lane in self.lanes)}"


@dataclass
class _Row:
    """What is drawn side by side."""

    until: float
    frames: list[Span] = field(default_factory=list)
    bars: list[tuple[Span, str]] = field(default_factory=list)


def waterfalls(spans: Sequence[Span]) -> list[Waterfall]:
    """Of the step of median duration and of the slowest one, among those that were traced."""
    roots = [span for span in spans if span.name == "step"]
    # Of a step that ran again after a resume, the later one.
    steps = {int(step): span for span in roots if (step := span.figure("step")) is not None}
    if not steps:
        return []
    middle = median_low(span.seconds for span in steps.values())
    median = next(step for step, span in steps.items() if span.seconds == middle)
    slowest = max(steps, key=lambda step: steps[step].seconds)
    among = f"of {number(len(steps))} traced"
    if median == slowest:
        return [_waterfall(f"Step {median}", steps[median], spans)]
    return [
        _waterfall(f"Step {median}, the median {among}", steps[median], spans),
        _waterfall(f"Step {slowest}, the slowest", steps[slowest], spans),
    ]


def _waterfall(title: str, step: Span, spans: Sequence[Span]) -> Waterfall:
    there = [span for span in spans if span.start < step.end and span.end > step.start and span is not step]
    phases = [span for span in there if span.parent == step.id and span.name in PHASES]
    workers = _workers(there)
    shown = dict(list(workers.items())[:MOST_WORKERS])
    lanes = {TRAINER: _rows([(span, f"phase-{span.name}") for span in phases])}
    lanes |= {name: _rows([(span, "blue") for span in groups]) for name, groups in shown.items()}
    lanes[SERVER] = _requests(there)
    scale = Scale(0.0, step.seconds or 1e-9, LEFT, WIDTH - RIGHT)
    drawn, y = [], TOP
    for name, rows in lanes.items():
        drawn.append(_lane(name, rows, step, scale, y))
        y = drawn[-1].bottom + GAP
    missing = len(workers) - len(shown)
    marks = ticks(0.0, step.seconds or 1e-9)
    return Waterfall(
        title=title,
        seconds=step.seconds,
        height=y + BOTTOM,
        lanes=drawn,
        x_ticks=[Mark(scale(at), label(at, marks[1] - marks[0])) for at in marks],
        legend=_legend(phases, there),
        note=f"and {missing} more workers" if missing else "",
    )


def _workers(spans: Iterable[Span]) -> dict[str, list[Span]]:
    """Groups by worker, the workers numbered in the order of their names."""
    groups = defaultdict(list)
    for span in spans:
        if span.name == "worker.generate":
            groups[str(span.attributes.get("worker"))].append(span)
    return {f"worker {number}": groups[name] for number, name in enumerate(sorted(groups), start=1)}


def _rows(bars: Iterable[tuple[Span, str]]) -> list[_Row]:
    rows: list[_Row] = []
    for span, tone in sorted(bars, key=lambda bar: bar[0].start):
        _free(rows, span).bars.append((span, tone))
    return rows


def _requests(spans: Sequence[Span]) -> list[_Row]:
    """The server's: requests, each with its stages."""
    stages = defaultdict(list)
    for span in spans:
        if span.service == SERVER and span.name in STAGES:
            stages[span.parent].append((span, STAGES[span.name]))
    rows: list[_Row] = []
    for span in sorted((one for one in spans if one.id in stages), key=lambda one: one.start):
        row = _free(rows, span)
        row.frames.append(span)
        row.bars += stages[span.id]
    return rows


def _free(rows: list[_Row], span: Span) -> _Row:
    """The first row that is empty by then; the last one where all are taken."""
    row = next((row for row in rows if row.until <= span.start), None)
    if row is None and len(rows) < MOST_ROWS:
        rows.append(_Row(span.end))
    row = row or rows[-1]
    row.until = max(row.until, span.end)
    return row


def _lane(name: str, rows: Sequence[_Row], step: Span, scale: Scale, top: float) -> Lane:
    ys = [top + ROW * at for at in range(len(rows))]
    frames = [_bar(span, "frame", step, scale, y) for row, y in zip(rows, ys, strict=True) for span in row.frames]
    bars = [_bar(span, tone, step, scale, y) for row, y in zip(rows, ys, strict=True) for span, tone in row.bars]
    bottom = top + ROW * max(1, len(rows))
    return Lane(name, round((top + bottom) / 2 + 4, 1), top, bottom, frames, bars)


def _bar(span: Span, tone: str, step: Span, scale: Scale, y: float) -> Bar:
    left, right = (scale(min(max(at - step.start, 0.0), step.seconds)) for at in (span.start, span.end))
    facts = "".join(f", {value:g} {key}" for key in ("requests", "tokens") if (value := span.figure(key)) is not None)
    return Bar(left, y, round(max(right - left, LEAST_WIDTH), 1), tone, f"{span.name} {duration(span.seconds)}{facts}")


def _legend(phases: Sequence[Span], spans: Sequence[Span]) -> list[tuple[str, str, str]]:
    rows = [(f"phase-{span.name}", PHASES[span.name], duration(span.seconds)) for span in phases]
    stages = {span.name for span in spans if span.service == SERVER}
    return rows + [(tone, f"server: {name}", "") for name, tone in STAGES.items() if name in stages]
