"""What the handlers of the page share."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from plaudit.feedback.page.metrics import Metrics
from plaudit.feedback.settings import LabelSettings
from plaudit.feedback.store import Store
from plaudit.feedback.summary import Summary, summarise
from plaudit.visible import visible

FRESH_S = 10.0
ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: visible(value) if type(value) is str else value,
)


def link(url: str, token: str) -> str:
    """A personal one: whoever opens it is signed in. Browsers send what is behind the # to nobody."""
    return f"{url.rstrip('/')}/in#{token}"


class Latest:
    """The summary, made once for all who look at about the same time: of many judgements it takes a while."""

    def __init__(self, store: Store) -> None:
        self._store, self._making = store, asyncio.Lock()
        self._summary: Summary | None = None
        self._made_at = 0.0

    async def summary(self) -> Summary:
        """At most FRESH_S old."""
        async with self._making:
            if self._summary is None or time.monotonic() - self._made_at > FRESH_S:
                self._summary = await asyncio.to_thread(summarise, self._store)
                self._made_at = time.monotonic()
            return self._summary

    def forget(self) -> None:
        """Something is new that has to be seen at once."""
        self._summary = None


@dataclass(frozen=True)
class Desk:
    """One service's."""

    store: Store
    settings: LabelSettings
    metrics: Metrics
    latest: Latest
    url: str  # where people reach the page

    @property
    def secure(self) -> bool:
        """Whether people come by https."""
        return self.url.startswith("https://")

    def link(self, token: str) -> str:
        """The personal one of whose token it is."""
        return link(self.url, token)

    def render(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """A page; `person` is None where nobody is signed in."""
        known = {"person": None, "problem": "", "settings": self.settings} | values
        page = ENVIRONMENT.get_template(template).render(known)
        return HTMLResponse(page, status, headers=dict(headers or {}))
