"""What each way made of the policy: the known utility of its answers to prompts that nobody learnt from.

    python compare.py FOLDER SEED

prints a table and writes it to FOLDER/compare.json.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from replies import draw_replies
from rich.console import Console
from rich.table import Table
from utility import utility

from plaudit.rows import DataSettings, read_rows
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings
from plaudit.uncertainty import mean, paired_difference

WAYS = {
    "straight_older_1": "older log, 1 pass",
    "straight_older_3": "older log, 3 passes",
    "straight_own_1": "own log, 1 pass",
    "straight_own_3": "own log, 3 passes",
    "ppo": "reward model, PPO",
}
TRAINING = Path(__file__).parent / "train.yaml"
Answers = dict[str, tuple[str, str]]  # prompt id -> prompt, answer


def compare(folder: Path, seed: int) -> None:
    """All ways against the policy that they started from."""
    before = _gold(_samples(folder)[0])
    found: dict[str, dict[str, object]] = {"before": {"gold": asdict(mean(before))}}
    table = Table(title=f"{len(before)} held-out answers (± standard error)", title_justify="left")
    for column in ("", "gold", "gain", "sampler KL", "KL seen"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("before", f"{mean(before):.2f}")
    for way, name in WAYS.items():
        answers = _samples(folder)[1] if way == "ppo" else _replies(folder, way, seed)
        gold, gain = mean(_gold(answers)), paired_difference(_gold(answers), before)
        steps = read_rows(DataSettings(source=str(folder / way / "metrics.jsonl")))
        (first, last), seen = (steps[place]["sampler_kl"] for place in (0, -1)), steps[-1]["kl"]
        table.add_row(name, f"{gold:.2f}", f"{gain:+.2f}", f"{_nats(first)} to {_nats(last)}", _nats(seen))
        found[way] = {"gold": asdict(gold), "gain": asdict(gain), "sampler_kl": [first, last], "kl": seen}
    Console().print(table)
    (folder / "compare.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def _nats(value: float) -> str:
    """Without a minus before 0."""
    return f"{round(value, 1) + 0.0:.1f}"


def _replies(folder: Path, way: str, seed: int) -> Answers:
    """With the seeds that `plaudit train` samples held-out prompts with."""
    held_out = DataSettings(source=str(folder / "data" / "held_out.jsonl"))
    (replies,) = draw_replies(folder / way, [(held_out, 1)], load(TrainSettings, TRAINING), seed)
    return {one.request.prompt.id: (str(one.request.prompt.text), one.response_text) for one in replies}


def _samples(folder: Path) -> tuple[Answers, Answers]:
    """The first and the last of `plaudit train`."""
    paths = sorted((folder / "ppo" / "samples").glob("step-*.jsonl"))
    first, last = (read_rows(DataSettings(source=str(path))) for path in (paths[0], paths[-1]))
    return _answers(first), _answers(last)


def _answers(rows: list[Any]) -> Answers:
    return {row["prompt_id"]: (row["prompt"], row["response"]) for row in rows}


def _gold(answers: Answers) -> list[float]:
    """In the order of the prompts."""
    return [utility(*answers[prompt_id]) for prompt_id in sorted(answers)]


if __name__ == "__main__":
    compare(Path(sys.argv[1]), int(sys.argv[2]))
