"""Reads what a run left behind, whole or broken off: every file but the folder itself may be missing or cut short."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plaudit.errors import ConfigurationError


@dataclass(frozen=True)
class Sample:
    """One response to one held-out prompt."""

    prompt_id: str
    prompt: str
    response: str
    score: float | None = None  # by the reward model: the proxy
    gold: float | None = None  # by the known utility, where there is one
    kl: float | None = None  # from the reference, nats
    finish_reason: str = ""


@dataclass(frozen=True)
class Span:
    """A line of traces.jsonl; times in seconds."""

    id: str
    parent: str
    name: str
    service: str
    start: float
    seconds: float
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> float:
        return self.start + self.seconds

    def figure(self, name: str) -> float | None:
        """An attribute that is a number."""
        return finite(self.attributes.get(name))


@dataclass(frozen=True)
class Run:
    """A run folder in memory."""

    name: str
    settings_text: str = ""  # config.yaml as it stands
    settings: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)  # metrics.jsonl, ascending, one entry per step
    samples: dict[int, list[Sample]] = field(default_factory=dict)  # by step, ascending
    start: list[Sample] = field(default_factory=list)  # many answers to each prompt by the starting policy
    summary: dict[str, Any] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)  # of steps that were traced
    problems: list[str] = field(default_factory=list)  # what could not be read


def read(folder: Path) -> Run:
    """Reads a run folder; raises ConfigurationError when `folder` is none."""
    if not folder.is_dir():
        raise ConfigurationError(f"no run folder {folder}: give the folder that `plaudit train` wrote")
    if not (folder / "config.yaml").is_file() and not (folder / "metrics.jsonl").is_file():
        raise ConfigurationError(f"{folder} is not a run folder: it has neither config.yaml nor metrics.jsonl")
    problems: list[str] = []
    text = _text(folder / "config.yaml")
    return Run(
        name=folder.resolve().name,
        settings_text=text,
        settings=_settings(text, problems),
        steps=_steps(folder / "metrics.jsonl", problems),
        samples=_samples(folder / "samples", problems),
        start=[_sample(row) for row in _rows(folder / "samples/start.jsonl", problems)],
        summary=_summary(folder / "summary.json", problems),
        spans=[span for row in _rows(folder / "traces.jsonl", problems) if (span := _span(row)) is not None],
        problems=problems,
    )


def finite(value: Any) -> float | None:
    """`value` as a float, None where it is no number or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _settings(text: str, problems: list[str]) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:
        problems.append("config.yaml is not YAML")
        return {}
    return tree if isinstance(tree, dict) else {}


def _summary(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        tree = json.loads(_text(path))
    except ValueError:
        problems.append("summary.json is not JSON")
        return {}
    return tree if isinstance(tree, dict) else {}


def _steps(path: Path, problems: list[str]) -> list[dict[str, float]]:
    """A resumed run repeats the steps since its checkpoint: the later record of a step is the one that holds."""
    by_step = {}
    for row in _rows(path, problems):
        step = finite(row.get("step"))
        if step is not None:
            numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float) and not isinstance(v, bool)}
            by_step[int(step)] = numbers
    return [by_step[step] for step in sorted(by_step)]


def _samples(folder: Path, problems: list[str]) -> dict[int, list[Sample]]:
    by_step = {}
    for path in folder.glob("step-*.jsonl"):
        number = path.stem.removeprefix("step-")
        rows = [_sample(row) for row in _rows(path, problems)] if number.isdigit() else []
        if rows:
            by_step[int(number)] = rows
    return dict(sorted(by_step.items()))


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        prompt_id=str(row.get("prompt_id", row.get("prompt", ""))),
        prompt=_plain(row.get("prompt")),
        response=_plain(row.get("response")),
        score=finite(row.get("score")),
        gold=finite(row.get("gold")),
        kl=finite(row.get("kl")),
        finish_reason=str(row.get("finish_reason") or ""),
    )


def _span(row: dict[str, Any]) -> Span | None:
    """None where it says no time."""
    start, seconds, attributes = finite(row.get("start")), finite(row.get("seconds")), row.get("attributes")
    if start is None or seconds is None:
        return None
    identity, parent, name, service = (str(row.get(key) or "") for key in ("span", "parent", "name", "service"))
    known = attributes if isinstance(attributes, dict) else {}
    return Span(identity, parent, name, service, start, max(0.0, seconds), known)


def _plain(value: Any) -> str:
    """Text as it is; a conversation as one paragraph per message."""
    if isinstance(value, list):
        return "\n\n".join(f"{m.get('role', '')}: {m.get('content', '')}" for m in value if isinstance(m, dict))
    return "" if value is None else str(value)


def _rows(path: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file. A line that was cut off is left out, and said so."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            yield row
        else:
            problems.append(f"{path.name} line {number} could not be read and is left out")
