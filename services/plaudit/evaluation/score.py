"""`plaudit score settings.yaml`: scores a file of prompt-response pairs with a reward server.

    reward: {address: 127.0.0.1:50051}
    data: {source: responses.jsonl}     rows {prompt, response} or {messages}; optional: id, finish_reason
    output: scores.jsonl                see `score_file`

Run it again to go on where it was stopped; rows that have a score are not asked about a second time.
"""

import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import DependencyUnreachable, RunFailed
from plaudit.evaluation.score_file import ScoreFile
from plaudit.outputs import check_file
from plaudit.reward_server.asking import RewardServerSettings, ready, score_item
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.settings import STRICT, load
from plaudit.telemetry.progress import bar
from plaudit.trajectory import Message
from plaudit_client import RewardClient, ScoreItem


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScoreSettings:
    """What to score, by whom, and where the scores go."""

    data: DataSettings
    output: str
    reward: RewardServerSettings = RewardServerSettings()
    batch_size: Annotated[int, Field(ge=1)] = 256  # rows asked about at once; the client splits by the server's limits


def run(path: str, overrides: list[str]) -> int:
    """Scores every row that has no score yet; returns 0 when any row has one."""
    settings = load(ScoreSettings, path, overrides)
    items = [item_of(row, number) for number, row in enumerate(read_rows(settings.data))]
    output = Path(settings.output).expanduser()
    check_file("output", output)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ready(settings.reward) as (client, model), ScoreFile(output, items, model.provenance) as scores:
            _score(client, items, scores, settings.batch_size)
    except (DependencyUnreachable, RunFailed) as error:
        raise type(error)(f"{error}; the same command goes on where this one stopped") from None
    print(summary(scores, settings.output))
    if not any("score" in line for line in scores.lines.values()):
        raise RunFailed(f"no row has a score: {settings.output} says why")
    return 0


def item_of(row: Row, number: int) -> ScoreItem:
    """What a row asks to be scored; ConfigurationError names the row and the field."""
    finish = row.get("finish_reason")
    if finish not in ("stop", "length", None):
        raise row.error("finish_reason", 'must be "stop", "length" or missing')
    prompt, response = _prompt_and_response(row)
    return score_item(prompt, response, str(row.get("id", number)), finish)


def _prompt_and_response(row: Row) -> tuple[str | tuple[Message, ...], str]:
    if "messages" not in row:
        return row.prompt(), row.text("response")
    *prompt, response = row.conversation("messages")
    return tuple(prompt), response.content


def _score(client: RewardClient, items: list[ScoreItem], scores: ScoreFile, batch_size: int) -> None:
    rows = scores.missing()
    began, done = time.monotonic(), 0
    with bar("score", total=len(items), done=len(items) - len(rows)) as progress:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            for row, result in zip(batch, client.score([items[row] for row in batch]), strict=True):
                scores.add(row, result)
            scores.flush()
            done += len(batch)
            progress.advance(len(batch), note=f"{done / (time.monotonic() - began):.0f} rows/s")


def summary(scores: ScoreFile, path: str) -> str:
    """One or two lines for whoever started it."""
    values = [line["score"] for line in scores.lines.values() if "score" in line]
    reasons = Counter(line["error"]["reason"] for line in scores.lines.values() if "error" in line)
    text = f"{path}: {len(values)} of {len(scores.lines)} rows scored"
    if values:
        text += f", mean {statistics.fmean(values):.4f}, standard deviation {statistics.pstdev(values):.4f}"
    if truncated := sum(line.get("truncated", False) for line in scores.lines.values()):
        text += f", {truncated} with a truncated prompt"
    if reasons:
        text += "\nwithout a score: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return text
