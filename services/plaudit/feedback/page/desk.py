"""What the handlers of the page share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from plaudit.feedback.page.metrics import Metrics
from plaudit.feedback.settings import LabelSettings
from plaudit.feedback.store import Store
from plaudit.visible import visible

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


@dataclass(frozen=True)
class Desk:
    """One service's."""

    store: Store
    settings: LabelSettings
    metrics: Metrics
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
