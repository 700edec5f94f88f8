"""What summary.json adds to a run: criteria, figures and phases of the whole job of which the PPO run is a part."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plaudit.report.formatting import memory, number, with_error
from plaudit.report.run_folder import finite
from plaudit.uncertainty import Estimate

ELSEWHERE = {"criteria", "phases", "gold", "proxy", "kl_bound"}
"""Keys that other parts of the page show."""
ACRONYMS = {"kl", "ppo", "sft"}


@dataclass(frozen=True)
class Share:
    """One phase and its part of the whole."""

    name: str
    tone: str
    seconds: float
    ratio: float
    per_step: float | None = None


@dataclass(frozen=True)
class Criterion:
    """One thing that the run had to reach."""

    name: str
    value: str
    bound: str
    passed: bool | None


def criteria(summary: Mapping[str, Any]) -> list[Criterion]:
    stated = summary.get("criteria")
    rows = [row for row in stated if isinstance(row, dict)] if isinstance(stated, list) else []
    return [
        Criterion(
            name=_words(row.get("name", "")),
            value=_value(row.get("value")),
            bound=_value(row.get("bound")),
            passed=row["passed"] if isinstance(row.get("passed"), bool) else None,
        )
        for row in rows
    ]


def facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and figure: the reward model's accuracy first, then every other number in the summary."""
    rows = []
    model = summary.get("reward_model")
    if isinstance(model, dict) and (accuracy := finite(model.get("accuracy"))) is not None:
        rows.append(("Reward model accuracy", with_error(Estimate(accuracy, finite(model.get("standard_error"))))))
        if (bayes := finite(model.get("bayes_accuracy"))) is not None:
            rows.append(("Bayes accuracy of the annotators", number(bayes)))
    for name, value in summary.items():
        if name not in ELSEWHERE and finite(value) is not None:
            rows.append(
                (_words(name.removesuffix("_bytes")), memory(value) if name.endswith("_bytes") else number(value))
            )
    return rows


def phases(summary: Mapping[str, Any]) -> list[Share]:
    stated = summary.get("phases")
    seconds = {name: finite(value) for name, value in stated.items()} if isinstance(stated, dict) else {}
    known = {name: spent for name, spent in seconds.items() if spent is not None and spent >= 0}
    total = math.fsum(known.values()) or 1.0
    return [Share(_words(name), "blue", spent, spent / total) for name, spent in known.items()]


def _value(value: Any) -> str:
    return str(value) if isinstance(value, str | bool) else number(finite(value))


def _words(name: Any) -> str:
    """From "distinct_ratio" to "Distinct ratio", from "kl" to "KL"."""
    words = str(name).replace("_", " ").split()
    shown = " ".join(word.upper() if word in ACRONYMS else word for word in words)
    return shown[:1].upper() + shown[1:]
