"""The settings of `plaudit serve`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.addresses import require_loopback
from plaudit.reward.forms.settings import FormSettings
from plaudit.reward.gate.settings import QuotaSettings, TlsSettings
from plaudit.reward.rendering import Rendering
from plaudit.rows import DataSettings
from plaudit.settings import STRICT
from plaudit.telemetry.tracing import ExportSettings

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""Of a model."""
KINDS = ("model", "rule", "callable", "human", "ensemble")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DigitsSettings:
    """0.2 for every number (`\\b\\d+\\b`), at most 1; -0.2 when there is none."""

    kind: Literal["digits"]
    scope: Literal["response", "full_text"] = "response"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KeywordSettings:
    """1 when the word occurs, else 0."""

    kind: Literal["keyword"]
    word: Annotated[str, Field(min_length=1)]
    case_sensitive: bool = False
    scope: Literal["response", "full_text"] = "response"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CallableSettings:
    """A Python function `f(prompt: str, response: str) -> float`, sync or async, that the operator trusts."""

    function: Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z_]\w*$")]  # "package.module:name" or "path/file.py:name"
    timeout: Seconds = 30.0  # for one item
    concurrency: Count = 4  # items at a time
    max_queue_items: Count = 4096


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnsembleSettings:
    """Several models of this server as one; each keeps answering under its own name too."""

    members: Annotated[tuple[str, ...], Field(min_length=2)]
    combine: Literal["mean", "minimum", "mean_minus_std"] = "mean"
    k: Annotated[float, Field(ge=0)] = 1.0  # mean_minus_std: how many standard deviations are taken off


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HumanSettings:
    """People: what is to be scored is asked in `plaudit label`, with which this shares a database."""

    database: str  # sqlite:///judgements.db or postgresql://user:password@host/name
    kind: Literal["rating", "thumbs"] = "rating"  # 1 to 5 stars become -1 to 1; up and down are 1 and -1
    wanted: Count = 1  # judgements of an item, by as many people: their mean counts
    instructions: str = ""  # what people go by, shown with each: with another text, nothing said before counts
    skips: Count = 3  # so many people, or all, passed an item on: it has no score
    timeout: Seconds = 3600.0  # for one item, which then has none either
    withdraw: bool = True  # what nobody waits for any more, and nobody has seen, is not asked
    priority: float = 1.0  # before other tasks in this database, which have 0: somebody waits
    max_queue_items: Count = 1024


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelSettings:
    """One model: exactly one of `model`, `rule`, `callable`, `human` and `ensemble`."""

    name: Annotated[str, Field(pattern=NAME)]
    model: str | None = None  # a folder in Hugging Face format, or a name on the hub
    rule: Annotated[DigitsSettings | KeywordSettings, Field(discriminator="kind")] | None = None
    callable: CallableSettings | None = None
    human: HumanSettings | None = None
    ensemble: EnsembleSettings | None = None
    rendering: Rendering | None = None  # only for a model without plaudit_reward.json
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"  # or "cuda", "cuda:1", ...
    references: DataSettings | None = None  # {prompt, response}: bfloat16's drift is measured on these; else self-test

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            known = f"{', '.join(KINDS[:-1])} and {KINDS[-1]}"
            raise ValueError(f"give exactly one of {known} (given: {', '.join(given) or 'none'})")
        for key, default in (("rendering", None), ("references", None), ("dtype", "float32"), ("device", "cpu")):
            if self.model is None and getattr(self, key) != default:
                raise ValueError(f"{key} is for a model: this is a {given[0]}")
        if self.references is not None and self.dtype == "float32":
            raise ValueError("references measure what a shorter dtype changes: set dtype: bfloat16, or leave them out")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LimitSettings:
    """How much one request, one batch and the queue may hold."""

    max_items: Count = 1024  # in one request
    max_item_bytes: Count = 1 << 20  # UTF-8 bytes of one item, or 4 a token
    max_request_bytes: Count = 4 << 20  # serialised
    max_batch_tokens: Count = 8192  # of one forward pass, padding included
    max_queue_tokens: Count = 1 << 20  # waiting and running; above it, callers are told to come back
    max_queue_items: Count = 8192
    cache_items: Annotated[int, Field(ge=0)] = 0  # scores that each model remembers, about 200 bytes each; 0: none


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServerSettings:
    """One reward server."""

    models: Annotated[tuple[ModelSettings, ...], Field(min_length=1)]  # the first one answers when none is named
    address: str = "127.0.0.1:50051"  # gRPC; port 0 takes any free one
    http_address: str = "127.0.0.1:9090"  # /metrics and /health
    forms: FormSettings | None = None  # HTTP for clients of other servers (docs/forms.md); `{}` is enough
    model_roots: tuple[Path, ...] = ()  # below which keys with the scope `admin` may load more models (docs/models.md)
    keys: Path | None = None  # of API keys, written by `plaudit keys`; null: nobody is asked for one
    tls: TlsSettings | None = None  # null: in the clear
    quota: QuotaSettings | None = None  # of each client whose key has none of its own; null: no bound
    insecure_bind: bool = False  # for other than loopback: nobody is asked who they are, or keys travel in the clear
    limits: LimitSettings = LimitSettings()
    deterministic: bool = False  # one unpadded item a forward: bit-identical, whatever else is asked at the time
    threads: Count | None = None  # of torch, for each model; null: this process's cores, shared among its models
    tokenizer_threads: Count = 2  # for each model
    ready_file: str | None = None  # where to write {"address": ..., "http_address": ...} once ready
    drain_wait: Annotated[float, Field(ge=0)] = 0.0  # seconds between NOT_SERVING and refusing: the balancer's time
    drain_timeout: Seconds = 30.0  # seconds for what is queued to finish
    max_connection_age: Seconds = 45.0  # then clients connect anew, looking names up: new replicas get load in a minute
    keepalive: Seconds = 60.0  # a silent client is asked so often whether it is there; it may itself ask twice as often
    tracing: ExportSettings | None = None  # needs the extra `tracing`
    stall_timeout: Seconds = 120.0  # liveness fails when a device thread has not moved for so long
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(model.name for model in self.models).items() if count > 1]
        if twice:
            raise ValueError(f"two models are named '{twice[0]}'")
        _check_members(self.models)
        if self.model_roots and self.keys is None:
            raise ValueError("model_roots: set keys too: only who has one with the scope admin may load models")
        if self.forms is not None:
            self.forms.check({model.name for model in self.models})
            self.check_reach("forms.address", self.forms.address)
        self.check_reach("address", self.address)
        require_loopback("http_address", self.http_address, unless=self.insecure_bind or self.asks_who)

    @property
    def asks_who(self) -> bool:
        """Whether a client has to show a key or a certificate."""
        return self.keys is not None or (self.tls is not None and self.tls.client_ca is not None)

    def check_reach(self, key: str, address: str) -> None:
        """Raises ValueError where scores would be open to other machines, or keys would travel in the clear."""
        if not self.asks_who:
            require_loopback(key, address, unless=self.insecure_bind, remedy="set keys or tls.client_ca, ")
        elif self.tls is None:
            clear = "API keys would travel in the clear"
            require_loopback(key, address, unless=self.insecure_bind, because=clear, remedy="set tls, ")


def _check_members(models: Sequence[ModelSettings]) -> None:
    """Raises ValueError for a member that is none."""
    single = {model.name for model in models if model.ensemble is None}
    for model in models:
        members = model.ensemble.members if model.ensemble else ()
        if len(set(members)) < len(members):
            raise ValueError(f"ensemble '{model.name}' names a member twice")
        if unknown := set(members) - single:
            raise ValueError(f"ensemble '{model.name}': '{min(unknown)}' is no single model of this server")
