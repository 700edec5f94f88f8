"""Asks the fine-tuned model for a reply to each prompt, and a rater for its stars.

    python rate.py FOLDER SEED

reads FOLDER/sft and the prompts in FOLDER/data, and writes {prompt, response, score, rater} to

    FOLDER/data/rated.jsonl          what the reward model is trained on
    FOLDER/data/rated_judged.jsonl   what it is measured on, other prompts
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from raters import expected_stars, rate
from replies import draw_replies

from plaudit.outputs import write_rows
from plaudit.preferences.ratings import fit
from plaudit.rows import DataSettings
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings
from plaudit.trajectory import Trajectory

SPLITS = {"preferences": "rated", "judged": "rated_judged"}
TRAINING = Path(__file__).parent / "train.yaml"  # the same policy writes here and there


def write_ratings(folder: Path, seed: int) -> None:
    """Draws the replies to both splits, has them rated, and writes the files."""
    wanted = [(DataSettings(source=str(folder / "data" / f"{name}.jsonl")), 1) for name in SPLITS]
    drawn = draw_replies(folder / "sft", wanted, load(TrainSettings, TRAINING), seed)
    rng = random.Random(f"raters {seed}")
    rated = [[_rated(reply, rng) for reply in replies if reply.finish_reason == "stop"] for replies in drawn]
    for name, rows in zip(SPLITS.values(), rated, strict=True):
        write_rows(folder / "data" / f"{name}.jsonl", rows)
    print(f"{len(rated[0])} ratings to train on, {len(rated[1])} to measure on: R² at most {_ceiling(rated[1])}")


def _rated(reply: Trajectory, rng: random.Random) -> dict[str, object]:
    prompt, response = str(reply.request.prompt.text), reply.response_text
    rater, stars = rate(prompt, response, rng)
    return {"prompt": prompt, "response": response, "score": stars, "rater": rater}


def _ceiling(rows: Sequence[dict[str, object]]) -> str:
    """Of the scorer that knows the panel."""
    known = [expected_stars(str(row["prompt"]), str(row["response"])) for row in rows]
    scores, prompts = [float(str(row["score"])) for row in rows], [str(row["prompt"]) for row in rows]
    return f"{fit(known, scores, prompts).r_squared:.3f}"


if __name__ == "__main__":
    write_ratings(Path(sys.argv[1]), int(sys.argv[2]))
