"""scale.json as a picture: `python benchmarks/scale/picture.py` writes scale.svg beside it."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 340, 220, 52, 36, 40
INK, TEAL, GREY = "#222b33", "#1b756f", "#8a949e"


class Panel(NamedTuple):
    """One small chart over the number of workers."""

    title: str
    values: Sequence[float]
    top: float  # of the axis, from 0
    form: str
    targets: Sequence[tuple[int, float]] = ()  # (workers, at least)


def main() -> None:
    """Two panels."""
    rows = json.loads((HERE / "scale.json").read_text(encoding="utf-8"))
    workers = [row["workers"] for row in rows]
    milliseconds = [row["driver_ms"] for row in rows]
    panels = (
        Panel("throughput, of linear", [row["efficiency"] for row in rows], 1.1, "{:.3f}", ((16, 0.95), (64, 0.9))),
        Panel("driver, ms of processor a trajectory", milliseconds, 1.15 * max(milliseconds), "{:.1f}"),
    )
    drawn = [_panel(panel, workers, number * (WIDTH + 20)) for number, panel in enumerate(panels)]
    size = f'width="{2 * WIDTH + 20}" height="{HEIGHT}"'
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    picture = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{"".join(drawn)}</svg>\n'
    (HERE / "scale.svg").write_text(picture, encoding="utf-8")


def _panel(panel: Panel, workers: Sequence[int], left: float) -> str:
    across = _scale(math.log2(workers[0]), math.log2(workers[-1]), left + LEFT, left + WIDTH - 20)
    up = _scale(0, panel.top, HEIGHT - BOTTOM, TOP)
    points = [(across(math.log2(count)), up(value)) for count, value in zip(workers, panel.values, strict=True)]
    parts = [_text(left + LEFT, TOP - 16, panel.title, weight="600")]
    parts.append(_line(left + LEFT, up(0), left + WIDTH - 20, up(0), GREY))
    ticks = ((across(math.log2(count)), str(count)) for count in workers)
    parts += [_text(x, up(0) + 16, name, anchor="middle", colour=GREY) for x, name in ticks]
    parts.append(_text((2 * left + LEFT + WIDTH) / 2, HEIGHT - 6, "workers", anchor="middle", colour=GREY))
    for count, least in panel.targets:
        x, y = across(math.log2(count)), up(least)
        parts.append(_line(x - 14, y, x + 14, y, INK, dashed=True))
        parts.append(_text(x, y + 14, f"target {least:g}", anchor="middle", colour=GREY))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{TEAL}" stroke-width="2"/>\n')
    for (x, y), value in zip(points, panel.values, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{TEAL}"/>\n')
        parts.append(_text(x, y - 8, panel.form.format(value), anchor="middle"))
    return "".join(parts)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>\n'


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "400", colour: str = INK) -> str:
    look = f'text-anchor="{anchor}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{text}</text>\n'


if __name__ == "__main__":
    main()
