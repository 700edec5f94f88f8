"""What a trainer does to a reward function, in a process of its own too: so this imports little."""

import asyncio

from plaudit_client import ScoreFailure, ScoreItem
from plaudit_client.fake import MODEL
from plaudit_client.types import Provenance

REFUSED = ScoreFailure("", "INPUT_TOO_LONG", "the input has 70 tokens, the model reads 64", "INVALID_ARGUMENT")


def length(item: ScoreItem) -> float | ScoreFailure:
    """Of a response; one of "too long" has none."""
    text = getattr(item.input, "response", None)
    response = text if text is not None else item.input.messages[-1].content
    return REFUSED if response == "too long" else float(len(response))


def ask(reward, *completions: str, **more: object) -> list[float | None]:
    """One call in an event loop of its own."""
    return asyncio.run(reward(prompts=["p"] * len(completions), completions=completions, **more))


def model(version: str):
    """As the fake server serves it."""
    name = f"models/fake/versions/{version}"
    return type(MODEL)(name, "fake", Provenance(name, version, "", "", "", "float64"), MODEL.limits)
