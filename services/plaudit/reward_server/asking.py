"""Asking a reward server, as every program does it: its settings, what it is asked, and what is said when it fails.

with ready(settings.reward) as (client, model):
    results = client.score([score_item(prompt, response)])
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError, DependencyUnreachable, PlauditError, RunFailed, WouldEndAgain
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
    Tls,
    Unauthenticated,
)
from plaudit_client import Message as Turn
from plaudit_client.one_model import OtherModel

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardTlsSettings:
    """See `plaudit_client.Tls`; the files are read when the program begins."""

    ca: Path | None = None  # PEM; null: publicly known authorities
    certificate: Path | None = None  # this client's, for a server with `tls.client_ca`
    key: Path | None = None
    server_name: str | None = None  # that the server's certificate is for, where the address has another


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardServerSettings:
    """The reward server that is asked."""

    address: str = "127.0.0.1:50051"
    model: str = ""  # the server's default model where empty
    timeout_s: Annotated[float, Field(gt=0)] = 120.0  # for one batch, retries included
    api_key_file: Path | None = None  # holds the key, and nothing else: no settings do
    tls: RewardTlsSettings | None = None  # null: in the clear
    startup_timeout_s: Annotated[float, Field(ge=0)] = 120.0  # how long a server that isn't there yet is waited for


@contextmanager
def ready(server: RewardServerSettings) -> Iterator[tuple[RewardClient, ModelInfo]]:
    """A client, and the version that `model` stands for once the server answers: that is asked, whatever the name will
    stand for. Within it, errors are `errors_explained`, and RunFailed when the server has that version no more.
    """
    with errors_explained(), open_client(server) as client:
        model = client.wait_until_ready(server.startup_timeout_s)
        client.ask_for(model.name)
        try:
            yield client, model
        except ModelNotFound as error:
            raise RunFailed(
                f"{model.name} was asked, and its server has that no more ({error}): serve it again, or begin again"
            ) from None


def open_client(server: RewardServerSettings) -> RewardClient:
    """A client that has asked nothing yet; whoever opens it closes it. Raises ConfigurationError."""
    opened = partial(RewardClient, server.address, model=server.model, timeout=server.timeout_s)
    return shown_to(server.address, opened, server.api_key_file, server.tls)


def shown_to(address: str, opened: Callable[..., T], api_key_file: Path | None, tls: RewardTlsSettings | None) -> T:
    """`opened(api_key=, tls=)`, a client of `address`, with what the files hold. Raises ConfigurationError."""
    try:
        key = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else None
        return opened(api_key=key, tls=Tls(**asdict(tls)) if tls else None)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be read ({error.strerror}): see api_key_file and tls"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{api_key_file} is no text: it holds an API key and nothing else") from None
    except ValueError as error:
        raise ConfigurationError(f"reward server {address}: {error}") from None


@contextmanager
def errors_explained() -> Iterator[None]:
    """What the client raises becomes an error of ours: see `explained`."""
    try:
        yield
    except RewardError as error:
        away = ": start it with `plaudit serve`, or raise reward.startup_timeout_s or reward.timeout_s"
        unknown = ": set reward.model to one of those, or leave it empty"
        raise explained(error, away=away, unknown=unknown) from None


def score_item(
    prompt: str | Sequence[Message], response: str, item_id: str = "", finish_reason: FinishReason | None = None
) -> ScoreItem:
    """A response to a prompt, as the client takes it: text stays text, messages travel as a conversation."""
    if isinstance(prompt, str):
        return ScoreItem(TextPair(prompt, response), item_id, finish_reason)
    turns = tuple(Turn(role, content) for role, content in (*prompt, Message("assistant", response)))
    return ScoreItem(Conversation(turns), item_id, finish_reason)


def explained(error: RewardError, *, away: str, unknown: str = "") -> PlauditError:
    """By exit code. What is to be done is added where nobody answers (`away`) or there is no such model (`unknown`)."""
    match error:
        case ServerUnavailable() | DeadlineExceeded():
            return DependencyUnreachable(f"{error}{away}")
        case OtherModel():
            return WouldEndAgain(f"{error}, then the same command goes on")
        case ModelNotFound():
            return ConfigurationError(f"{error}{unknown}")
        case InvalidRequest() | Unauthenticated():
            return ConfigurationError(str(error))
        case _:
            return RunFailed(str(error))
