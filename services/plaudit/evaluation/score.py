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

from plaudit.errors import ConfigurationError, DependencyUnreachable, PlauditError, RunFailed
from plaudit.evaluation.score_file import ScoreFile
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.settings import STRICT, load
from plaudit.telemetry.progress import bar
from plaudit_client import (
    Conversation,
    DeadlineExceeded,
    InvalidRequest,
    Message,
    ModelNotFound,
    RewardClient,
    RewardError,
    ScoreItem,
    ServerUnavailable,
    TextPair,
    Unauthenticated,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardServerSettings:
    """The reward server that is asked."""

    address: str = "127.0.0.1:50051"
    model: str = ""  # the server's default model where empty
    timeout_s: Annotated[float, Field(gt=0)] = 120.0  # for one batch, retries included
    startup_timeout_s: Annotated[float, Field(ge=0)] = 60.0  # how long a server that isn't there yet is waited for


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
    server = settings.reward
    with RewardClient(server.address, model=server.model, timeout=server.timeout_s) as client:
        try:
            model = client.wait_until_ready(server.startup_timeout_s)
            with ScoreFile(_writable(settings.output), items, model.provenance) as scores:
                _score(client, items, scores, settings.batch_size)
        except RewardError as error:
            raise _as_plaudit_error(error, settings) from None
    print(summary(scores, settings.output))
    if not any("score" in line for line in scores.lines.values()):
        raise RunFailed(f"no row has a score: {settings.output} says why")
    return 0


def item_of(row: Row, number: int) -> ScoreItem:
    """What a row asks to be scored; ConfigurationError names the row and the field."""
    finish = row.get("finish_reason")
    if finish not in ("stop", "length", None):
        raise row.error("finish_reason", 'must be "stop", "length" or missing')
    return ScoreItem(_input_of(row), item_id=str(row.get("id", number)), finish_reason=finish)


def _input_of(row: Row) -> TextPair | Conversation:
    if "messages" in row:
        turns = _turns(row, "messages")
        if turns[-1].role != "assistant":
            raise row.error("messages", "must end with the assistant's message, the response to score")
        return Conversation(turns)
    if isinstance(row.get("prompt"), list):
        return Conversation((*_turns(row, "prompt"), Message("assistant", row.text("response"))))
    return TextPair(row.text("prompt"), row.text("response"))


def _turns(row: Row, field: str) -> tuple[Message, ...]:
    return tuple(Message(turn.role, turn.content) for turn in row.messages(field))


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


def _writable(output: str) -> Path:
    path = Path(output).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise ConfigurationError(f"output {output} cannot be written: {error.strerror}") from None
    return path


def _as_plaudit_error(error: RewardError, settings: ScoreSettings) -> PlauditError:
    address = settings.reward.address
    match error:
        case ServerUnavailable() | DeadlineExceeded():
            remedy = "start it with `plaudit serve`, or raise reward.startup_timeout_s or reward.timeout_s"
            return DependencyUnreachable(f"{error}: {remedy}; the same command goes on where this one stopped")
        case ModelNotFound():
            return ConfigurationError(f"reward server {address} has no model '{settings.reward.model}': {error}")
        case InvalidRequest() | Unauthenticated():
            return ConfigurationError(f"{error}")
        case _:
            return RunFailed(f"{error}: the same command goes on where this one stopped")
