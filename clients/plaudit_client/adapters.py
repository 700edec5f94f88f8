"""What the adapters for other trainers share. What each does with an item that has no score is its trainer's affair:

    trl.py        a batch a call, in the event loop of trl's thread      None
    verl.py       one a call, in the event loops of verl's actors        raises NoScore
    openrlhf.py   one a call, in the threads of its rollout actors       raises NoScore

All ask patiently: a server that restarts costs a run some minutes and nothing else.
"""

import asyncio
import functools
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plaudit_client.aio import AsyncRewardClient
from plaudit_client.errors import RewardError
from plaudit_client.one_model import OneModel
from plaudit_client.retry import PATIENT
from plaudit_client.types import Conversation, FinishReason, Message, Score, ScoreFailure, ScoreItem, TextPair

Turns = Iterable[Mapping[str, Any]]
"""Messages as trainers have them: {"role": "user", "content": "How many?"}."""

NO_TEXT: Any = None
"""Of a message that calls a tool and says nothing; its item fails alone, as others that are no text."""
TIMEOUT = 600.0
"""Seconds that an adapter asks for, tries included, unless it is told: longer than a server takes to come back."""


class NoScore(RewardError):
    """The server answered, and this item has no score: `reason` as listed in the .proto."""


class AnyLoop:
    """An AsyncRewardClient for each event loop that asks: a connection belongs to one."""

    def __init__(self, address: str, **settings: Any) -> None:
        """As AsyncRewardClient, but patient."""
        patient: dict[str, Any] = {"timeout": TIMEOUT, "retry": PATIENT}
        self._open = functools.partial(AsyncRewardClient, address, **patient | settings)
        self._open()  # what is wrong with the settings is said here
        self._clients: dict[asyncio.AbstractEventLoop, AsyncRewardClient] = {}
        self._opening = threading.Lock()  # the loops are those of several threads
        self._model = OneModel()

    async def score(self, items: Sequence[ScoreItem]) -> list[Score | ScoreFailure]:
        """As AsyncRewardClient.score, of one model."""
        client = self._client()
        with self._model.asked(client):
            results = await client.score(items)
        self._model.check(results)
        return results

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in another process or not, connects anew, and asks the same model."""
        return _opened, (self._open, self._model.name)

    def _client(self) -> AsyncRewardClient:
        loop = asyncio.get_running_loop()
        with self._opening:
            client = self._clients.get(loop)
            if client is None:
                client = self._open()
                self._clients = {one: known for one, known in self._clients.items() if not one.is_closed()}
                self._clients[loop] = client
            return client


def item_of(prompt: str | Turns, response: str | Turns, finish_reason: FinishReason | None = None) -> ScoreItem:
    """Text stays text, and messages are a conversation; the response's follow the prompt's."""
    if isinstance(prompt, str) and isinstance(response, str):
        return ScoreItem(TextPair(prompt, response), finish_reason=finish_reason)
    turns = [*_turns(prompt, "user"), *_turns(response, "assistant")]
    return ScoreItem(Conversation(tuple(turns)), finish_reason=finish_reason)


def scored(result: Score | ScoreFailure) -> Score:
    """Raises NoScore."""
    if isinstance(result, ScoreFailure):
        raise NoScore(f"no score ({result.reason}): {result.message}", reason=result.reason)
    return result


def _turns(said: str | Turns, role: str) -> list[Message]:
    if isinstance(said, str):
        return [Message(role, said)]
    return [Message(turn["role"], turn.get("content", NO_TEXT)) for turn in said]


def _opened(opener: "functools.partial[AsyncRewardClient]", model: str) -> AnyLoop:
    opened = AnyLoop(*opener.args, **opener.keywords)
    opened._model.name = model
    return opened
