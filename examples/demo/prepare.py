"""Writes the world of one seed, the data of all stages and a language model with random weights.

python prepare.py FOLDER SEED

FOLDER/base/                        tokenizer and random weights
FOLDER/data/demonstrations.jsonl    {prompt, response}: for `plaudit sft`
FOLDER/data/preferences.jsonl       {id, prompt}: two replies each will be compared (pairs.py)
FOLDER/data/judged.jsonl            {id, prompt}: the same, to measure the reward model with
FOLDER/data/practice.jsonl          {id, prompt}: PPO's prompts
FOLDER/data/held_out.jsonl          {id, prompt}: where the result is measured
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from make_model import make_model
from world import Question, Splits, draw_splits

from plaudit.outputs import write_rows


def prepare(folder: Path, seed: int) -> None:
    """Writes everything that the stages start from."""
    splits = draw_splits(seed)
    write_data(splits, folder / "data")
    make_model((one.question.prompt + one.reply for one in splits.demonstrations[:4_000]), folder / "base", seed)


def write_data(splits: Splits, folder: Path) -> None:
    """The splits as JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    demonstrations = ({"prompt": one.question.prompt, "response": one.reply} for one in splits.demonstrations)
    write_rows(folder / "demonstrations.jsonl", demonstrations)
    for name in ("preferences", "judged", "practice", "held_out"):
        write_rows(folder / f"{name}.jsonl", _prompts(name, getattr(splits, name)))


def _prompts(name: str, questions: Iterable[Question]) -> Iterable[dict[str, object]]:
    return ({"id": f"{name}-{index}", "prompt": question.prompt} for index, question in enumerate(questions))


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), int(sys.argv[2]))
