"""The loop without a server: the same texts in the same windows of 64, as fast as plain transformers scores them.

    python -m contenders.bare READY FOLDER LONGEST THREADS

Reads commands, one line of JSON each, and answers each with one:

    {"do": "score", "seed", "count", "median", "budget"}   seconds and processor time; a budget of 0: one text a forward
    {"do": "lengths", "seed", "count", "median"}           tokens of each text
    {"do": "costs", "shapes": [[items, width], ...]}       median seconds of a forward of that shape
"""

import statistics
import sys
import time
from typing import Any

from child import obey, take_output, write_ready
from workload import pairs

from contenders.scorer import WINDOW, Scorer

REPEATS = 3


def texts(command: dict[str, Any]) -> list[str]:
    """Prompt and response in one."""
    return [prompt + response for prompt, response in pairs(command["seed"], command["count"], command["median"])]


def score(scorer: Scorer, command: dict[str, Any]) -> dict[str, Any]:
    """Tokenises and scores all texts, window by window."""
    asked, budget = texts(command), command["budget"]
    wall, cpu = time.monotonic(), time.process_time()
    for start in range(0, len(asked), WINDOW):
        scorer.score(asked[start : start + WINDOW], budget)
    return {"seconds": time.monotonic() - wall, "cpu": time.process_time() - cpu}


def costs(scorer: Scorer, shapes: list[tuple[int, int]]) -> dict[str, Any]:
    """Each shape a few times, in turns."""
    found: list[list[float]] = [[] for _ in shapes]
    for _ in range(REPEATS):
        for (items, width), seconds in zip(shapes, found, strict=True):
            rows = [[1 + (7 * item + place) % 1000 for place in range(width)] for item in range(items)]
            began = time.monotonic()
            scorer.forward(rows)
            seconds.append(time.monotonic() - began)
    return {"seconds": [statistics.median(seconds) for seconds in found]}


def main() -> None:
    """Until there are no more commands."""
    ready, folder, longest, threads = sys.argv[1:]
    output, scorer = take_output(), Scorer(folder, int(longest), int(threads))

    def do(command: dict[str, Any]) -> dict[str, Any]:
        match command["do"]:
            case "score":
                return score(scorer, command)
            case "lengths":
                return {"lengths": [len(row) for row in scorer.ids(texts(command))]}
            case _:
                return costs(scorer, command["shapes"])

    write_ready(ready)
    obey(do, output)


if __name__ == "__main__":
    main()
