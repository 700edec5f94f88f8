"""Settings files of reward models that learn four-word answers."""

import json
from pathlib import Path

TRAINING = {"learning_rate": 0.003, "batch_size": 32, "epochs": 2}


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
