"""What `plaudit label` is told."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.addresses import require_loopback
from plaudit.feedback.tasks import Kind
from plaudit.rows import DataSettings
from plaudit.settings import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TaskSettings:
    """Tasks of one kind, from rows of data (see reading.py)."""

    data: DataSettings
    kind: Kind
    wanted: Annotated[int, Field(gt=0)] = 1  # judgements of each, by as many people


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelSettings:
    """One labelling service, or one of several on the same PostgreSQL."""

    database: str  # sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME
    address: str = "127.0.0.1:8090"  # the page; port 0 takes any free one
    http_address: str = "127.0.0.1:9092"  # /metrics and /health
    insecure_bind: bool = False  # needed for other than loopback: nothing here encrypts, put TLS in front
    url: str = ""  # where people reach the page, such as https://label.example.org; its address where empty
    title: str = "What do you think?"
    instructions: str = ""  # shown above each task that has none of its own, in a fold
    tasks: tuple[TaskSettings, ...] = ()  # added at the start, each once
    gold_every: Annotated[int, Field(gt=1)] = 10  # about one in so many is a question whose answer is known
    lease_minutes: Annotated[float, Field(gt=0)] = 30.0  # so long a task is one person's; then somebody else is asked
    ready_file: str | None = None  # where to write {"address": ..., "http_address": ...} once ready
    drain_timeout: Annotated[float, Field(gt=0)] = 10.0  # seconds for requests under way to finish
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def __post_init__(self) -> None:
        clear = "what people send it is not encrypted"
        require_loopback("address", self.address, unless=self.insecure_bind, because=clear)
        require_loopback("http_address", self.http_address, unless=self.insecure_bind)
        if self.url and not self.url.startswith(("https://", "http://")):
            raise ValueError(f"url {self.url} is none: it begins with https:// or http://")
