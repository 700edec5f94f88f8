"""Rows to evaluate, and who scores them."""

import json
from pathlib import Path

from plaudit.evaluation.accuracy import AccuracySettings, evaluate
from plaudit.evaluation.comparing import Accuracy
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.rows import DataSettings
from plaudit_client import Conversation, ScoreItem
from plaudit_client.fake import FakeRewardServer


def write_rows(folder: Path, rows) -> str:
    path = folder / "preferences.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def text_of(item: ScoreItem) -> str:
    return item.input.messages[-1].content if isinstance(item.input, Conversation) else item.input.response


def told(item: ScoreItem) -> float:
    """An answer says itself what it is worth, by its first word."""
    return float(text_of(item).split()[0])


def evaluate_rows(folder: Path, rows, score=told, **settings) -> Accuracy:
    """Through a server on loopback."""
    data = DataSettings(source=write_rows(folder, rows))
    with FakeRewardServer(score) as server:
        reward = RewardServerSettings(address=server.address)
        return evaluate(AccuracySettings(data=data, reward=reward, **settings))
