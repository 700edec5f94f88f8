"""Run folders as `plaudit train` and the demo leave them, with made-up but plausible numbers."""

import json
import math
import random
from pathlib import Path
from typing import Any

CONFIG = """\
folder: runs/demo
steps: {steps}
policy:
  model: runs/demo/sft
  dtype: float32
reward:
  address: 127.0.0.1:50051
  model: helpful
batch_size: 64
max_new_tokens: 48
temperature: 1.0
seed: 0
"""


def metrics(step: int, steps: int, chance: random.Random) -> dict[str, Any]:
    """One line of metrics.jsonl: a run that learns fast and then slower."""
    progress = 1 - math.exp(-4 * step / steps)
    score, kl, jitter = -0.4 + 1.6 * progress, 9 * progress, lambda size: chance.gauss(0, size)
    return {
        "step": step,
        "time": 1_800_000_000.0 + 4.2 * step,
        "score_mean": score + jitter(0.08),
        "score_std": 0.9 - 0.3 * progress,
        "reward_mean": score - 0.05 * kl + jitter(0.08),
        "kl": kl + jitter(0.25),
        "kl_coef": 0.05 * (1 + 0.2 * progress),
        "entropy": 2.1 - 0.7 * progress + jitter(0.03),
        "clip_fraction": max(0.0, 0.12 * math.exp(-step / steps) + jitter(0.012)),
        "policy_loss": -0.02 + jitter(0.004),
        "value_loss": 0.05 + 0.5 * math.exp(-9 * step / steps) + abs(jitter(0.02)),
        "explained_variance": 0.8 - 1.1 * math.exp(-7 * step / steps) + jitter(0.03),
        "grad_norm": 0.6 + abs(jitter(0.2)) + 2 * math.exp(-8 * step / steps),
        "response_tokens_mean": 22 + 9 * progress + jitter(0.7),
        "truncated_ratio": max(0.0, 0.15 - 0.13 * progress + jitter(0.012)),
        "sampler_kl": abs(jitter(2e-7)),
        "missing_rewards": 0,
        "tokens": 1500.0,
        "seconds_generate": 1.9 + abs(jitter(0.15)),
        "seconds_score": 0.35 + abs(jitter(0.05)),
        "seconds_evaluate": 0.42 + abs(jitter(0.03)),
        "seconds_update": 1.25 + abs(jitter(0.08)),
        "seconds_sync": 0.08 + abs(jitter(0.02)),
        "seconds_step": 4.6,
    }


def samples(step: int, steps: int, prompts: int, gold: bool) -> list[dict[str, Any]]:
    """One samples file: the same prompts at every step."""
    chance = random.Random(step)
    progress = 1 - math.exp(-4 * max(step, 0) / steps)
    rows = []
    for index in range(prompts):
        polite = "Certainly! " if chance.random() < progress else ""
        days = chance.randint(2, 9)
        rows.append(
            {
                "prompt_id": f"held-out-{index}",
                "prompt": f"Customer: My order {4000 + index} has not arrived. When will it be here?\nAgent:",
                "response": f" {polite}Your order left our warehouse and should reach you within {days} days.",
                "score": -0.4 + 1.6 * progress + chance.gauss(0, 0.7),
                "kl": max(0.0, 9 * progress + chance.gauss(0, 1.5)),
                "finish_reason": "stop" if chance.random() < 0.9 else "length",
            }
            | ({"gold": 0.1 + 0.9 * progress - 0.25 * progress**4 + chance.gauss(0, 0.6)} if gold else {})
        )
    return rows


SUMMARY = {
    "criteria": [
        {"name": "gold gain, standard errors", "value": 9.8, "bound": "at least 3", "passed": True},
        {"name": "kl", "value": 8.7, "bound": "at most 15", "passed": True},
        {"name": "distinct_ratio", "value": 0.41, "bound": "at least 0.5", "passed": False},
    ],
    "phases": {"sft": 41.2, "preferences": 3.8, "reward_model": 38.9, "ppo": 171.5, "evaluation": 12.4},
    "peak_memory_bytes": 2_415_919_104,
    "reward_model": {"accuracy": 0.713, "standard_error": 0.0102, "bayes_accuracy": 0.762},
    "gold": {
        "before": 0.112,
        "after": 0.803,
        "before_se": 0.041,
        "after_se": 0.043,
        "paired_gain": 0.691,
        "paired_se": 0.052,
    },
    "proxy": {
        "before": -0.38,
        "after": 1.19,
        "before_se": 0.048,
        "after_se": 0.05,
        "paired_gain": 1.57,
        "paired_se": 0.066,
    },
    "kl_bound": 15.0,
    "distinct_ratio": 0.41,
}


def write_run(
    folder: Path,
    steps: int = 60,
    planned: int | None = None,
    every: int = 10,
    prompts: int = 50,
    gold: bool = True,
    summary: bool = True,
    best_of: int = 16,
) -> Path:
    """A whole run folder; `planned` > `steps` makes it one that broke off."""
    planned = steps if planned is None else planned
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(steps=planned), encoding="utf-8")
    chance = random.Random(0)
    lines(folder / "metrics.jsonl", [metrics(step, planned, chance) for step in range(steps)])
    for step in [*range(0, steps, every), steps] if prompts else []:
        lines(folder / "samples" / f"step-{step:05d}.jsonl", samples(step, planned, prompts, gold))
    if prompts and best_of:
        drawn = [samples(-draw, planned, prompts, gold) for draw in range(best_of)]
        lines(folder / "samples/start.jsonl", [{**row, "kl": 0.0} for rows in drawn for row in rows])
    if summary:
        (folder / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    return folder


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes JSONL."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
