"""Has two policies answer the same prompts and customers put a thumb up or down under each answer.

    python log.py FOLDER SEED

reads FOLDER/older, FOLDER/sft and the prompts in FOLDER/data, and writes what either policy's service would have logged
to FOLDER/data/thumbs_older.jsonl and thumbs_own.jsonl:

    {prompt, response, score, prompt_ids, response_ids, logprobs}    score 1 or -1; logprobs (T,) as they were sampled
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from raters import thumb
from replies import draw_replies

from plaudit.outputs import write_rows
from plaudit.rows import DataSettings
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings
from plaudit.trajectory import Trajectory

LOGS = {"older": "older", "own": "sft"}  # a log's name, and whose answers are in it
ANSWERS = 2_048
TRAINING = Path(__file__).parent / "train.yaml"  # the same policy writes here and there


def write_logs(folder: Path, seed: int) -> None:
    """Both logs."""
    prompts = DataSettings(source=str(folder / "data" / "preferences.jsonl"), limit=ANSWERS)
    for name, policy in LOGS.items():
        (replies,) = draw_replies(folder / policy, [(prompts, 1)], load(TrainSettings, TRAINING), seed)
        rng = random.Random(f"thumbs {seed}")
        rows = [_logged(reply, rng) for reply in replies if reply.finish_reason == "stop"]
        write_rows(folder / "data" / f"thumbs_{name}.jsonl", rows)
        up = sum(row["score"] == 1 for row in rows) / len(rows)
        print(f"answers of {policy}: {len(rows)} logged, {up:.0%} with a thumb up")


def _logged(reply: Trajectory, rng: random.Random) -> dict[str, object]:
    prompt, response = str(reply.request.prompt.text), reply.response_text
    return {
        "prompt": prompt,
        "response": response,
        "score": thumb(prompt, response, rng),
        "prompt_ids": reply.request.prompt.token_ids,
        "response_ids": reply.response_ids,
        "logprobs": reply.sampler_logprobs.tolist(),
    }


if __name__ == "__main__":
    write_logs(Path(sys.argv[1]), int(sys.argv[2]))
