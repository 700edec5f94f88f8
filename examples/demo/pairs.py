"""Asks the fine-tuned model for several replies to each prompt, and the annotators which of two they prefer.

    python pairs.py FOLDER SEED

reads FOLDER/sft and the prompts in FOLDER/data, and writes {prompt, chosen, rejected, annotator} to

    FOLDER/data/preferred.jsonl          what the reward model is trained on
    FOLDER/data/preferred_judged.jsonl   what it is measured on, other prompts
    FOLDER/data/bayes.json               the best accuracy that any model can have on the latter
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from pathlib import Path

from annotators import Pair, bayes_accuracy, label
from replies import draw_replies

from plaudit.outputs import write_rows
from plaudit.rows import DataSettings
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings
from plaudit.trajectory import Trajectory

REPLIES = {"preferences": 2, "judged": 4}
"""To each prompt: many prompts teach more than many pairs of one; to measure, six pairs of a prompt are cheap."""
TRAINING = Path(__file__).parent / "settings" / "train.yaml"  # the same policy writes here and there


def write_pairs(folder: Path, seed: int) -> None:
    """Draws the replies of both splits, labels their pairs, and writes the files."""
    wanted = [(DataSettings(source=str(folder / "data" / f"{name}.jsonl")), count) for name, count in REPLIES.items()]
    drawn = draw_replies(folder / "sft", wanted, load(TrainSettings, TRAINING), seed)
    training, judged = (list(_pairs(replies)) for replies in drawn)
    rng = random.Random(f"annotators {seed}")
    write_rows(folder / "data" / "preferred.jsonl", (label(pair, rng).as_row() for pair in training))
    write_rows(folder / "data" / "preferred_judged.jsonl", (label(pair, rng).as_row() for pair in judged))
    bayes = {"bayes_accuracy": bayes_accuracy(judged), "pairs": len(judged)}
    (folder / "data" / "bayes.json").write_text(json.dumps(bayes), encoding="utf-8")
    print(
        f"{len(training)} pairs to train on, {len(judged)} to measure on: Bayes accuracy {bayes['bayes_accuracy']:.3f}"
    )


def _pairs(replies: Sequence[Trajectory]) -> Iterator[Pair]:
    """Every two different, finished replies to a prompt."""
    for _, group in groupby(replies, key=lambda one: one.request.prompt.id):
        finished = [one for one in group if one.finish_reason == "stop"]
        for first, second in combinations(finished, 2):
            if first.response_text != second.response_text:
                yield Pair(str(first.request.prompt.text), first.response_text, second.response_text)


if __name__ == "__main__":
    write_pairs(Path(sys.argv[1]), int(sys.argv[2]))
