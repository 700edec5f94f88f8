"""Reward models that learn four-word answers: judgements by a planted worth of words, and settings files."""

import json
from pathlib import Path

import numpy as np
from scipy.special import expit

WORTH = {"thank": 1.5, "order": 0.5, "about": 0.0, "quick": -0.5, "brown": -1.5}
FAVOURITE, FAVOUR = "quick", 2.0
"""What biased annotators look for, and nothing else."""
TRAINING = {"learning_rate": 0.003, "batch_size": 32, "epochs": 2}


def planted_pairs(count: int, seed: int = 0, biased: float = 0.0) -> tuple[list[dict[str, object]], float]:
    """Rows whose chosen side is drawn by Bradley-Terry on the words' worth, and the Bayes accuracy on them.

    A part `biased` of the annotators goes by one word.
    """
    random = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    certainty = []
    for number in range(count):
        one, two = (list(random.choice(list(WORTH), size=4)) for _ in range(2))
        by_worth = expit(sum(WORTH[word] for word in one) - sum(WORTH[word] for word in two))
        by_favour = expit(FAVOUR * (one.count(FAVOURITE) - two.count(FAVOURITE)))
        probability = (1 - biased) * by_worth + biased * by_favour
        chosen, rejected = (one, two) if random.random() < probability else (two, one)
        rows.append({"prompt": f"where {number}", "chosen": " ".join(chosen), "rejected": " ".join(rejected)})
        certainty.append(max(probability, 1 - probability))
    return rows, float(np.mean(certainty))


def write_rows(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settings_file(tmp_path: Path, base: Path, rows: list[dict[str, object]], **changes: object) -> str:
    """Of preferences, unless `changes` say otherwise."""
    path = tmp_path / "reward_model.yaml"
    tree = {
        "base": {"model": str(base)}, "data": {"source": write_rows(tmp_path / "data.jsonl", rows)},
        "rendering": {"max_tokens": 64, "separator": " "}, "output": str(tmp_path / "out"), "training": TRAINING,
    }  # fmt: skip
    path.write_text(json.dumps(tree | changes))
    return str(path)
