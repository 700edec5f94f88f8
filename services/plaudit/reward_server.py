"""Asking a reward server, as every program does it: its settings, what it is asked, and what is said when it fails.

with ready(settings.reward) as (client, model):
    results = client.score([score_item(prompt, response)])
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError, DependencyUnreachable, PlauditError, RunFailed
from plaudit.settings import STRICT
from plaudit.trajectory import FinishReason, Message
from plaudit_client import (
    Conversation,
    DeadlineExceeded,
    InvalidRequest,
    ModelInfo,
    ModelNotFound,
    RewardClient,
    RewardError,
    ScoreItem,
    ServerUnavailable,
    TextPair,
    Unauthenticated,
)
from plaudit_client import Message as Turn


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardServerSettings:
    """The reward server that is asked."""

    address: str = "127.0.0.1:50051"
    model: str = ""  # the server's default model where empty
    timeout_s: Annotated[float, Field(gt=0)] = 120.0  # for one batch, retries included
    startup_timeout_s: Annotated[float, Field(ge=0)] = 120.0  # how long a server that isn't there yet is waited for


@contextmanager
def ready(server: RewardServerSettings) -> Iterator[tuple[RewardClient, ModelInfo]]:
    """A client, and the model that it asks, once that answers. Within it, errors are `errors_explained`."""
    with errors_explained(), open_client(server) as client:
        yield client, client.wait_until_ready(server.startup_timeout_s)


def open_client(server: RewardServerSettings) -> RewardClient:
    """A client that has asked nothing yet; whoever opens it closes it."""
    return RewardClient(server.address, model=server.model, timeout=server.timeout_s)


@contextmanager
def errors_explained() -> Iterator[None]:
    """What the client raises becomes DependencyUnreachable, ConfigurationError or RunFailed, by exit code."""
    try:
        yield
    except RewardError as error:
        raise _explained(error) from None


def score_item(
    prompt: str | Sequence[Message], response: str, item_id: str = "", finish_reason: FinishReason | None = None
) -> ScoreItem:
    """A response to a prompt, as the client takes it: text stays text, messages travel as a conversation."""
    if isinstance(prompt, str):
        return ScoreItem(TextPair(prompt, response), item_id, finish_reason)
    turns = tuple(Turn(role, content) for role, content in (*prompt, Message("assistant", response)))
    return ScoreItem(Conversation(turns), item_id, finish_reason)


def _explained(error: RewardError) -> PlauditError:
    match error:
        case ServerUnavailable() | DeadlineExceeded():
            remedy = "start it with `plaudit serve`, or raise reward.startup_timeout_s or reward.timeout_s"
            return DependencyUnreachable(f"{error}: {remedy}")
        case ModelNotFound():
            return ConfigurationError(f"{error}: set reward.model to one of those, or leave it empty")
        case InvalidRequest() | Unauthenticated():
            return ConfigurationError(str(error))
        case _:
            return RunFailed(str(error))
