"""What no request may do, and what every page says to browsers: before any handler.

- A page loads its own style and script and nothing else, whatever a model wrote into it; nobody may frame it.
- A form of another site is refused, beside what the cookie's SameSite does.
- A request is as large as a person may type.
- Every answer is counted by its code; one that a handler failed to give too.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2 << 20
"""Of a request's body."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class TooLarge(Exception):
    """More than MOST_BYTES came in."""


class Guard:
    """ASGI middleware; `url` is where people reach the page, `count` hears of every answer's code."""

    def __init__(self, app: ASGIApp, *, url: str, count: Callable[[int], None]) -> None:
        self._app, self._own, self._count = app, urlsplit(url), count
        by_https = {"Strict-Transport-Security": "max-age=31536000"} if self._own.scheme == "https" else {}
        self._headers = HEADERS | by_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._count(message["status"])
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/static") else "no-store")
            await send(message)

        if self._foreign(scope):
            await PlainTextResponse("This form is of another site.", 403)(scope, receive, sending)
            return
        try:
            await self._app(scope, _limited(receive), sending)
        except TooLarge:
            if begun:
                raise
            await PlainTextResponse(f"More than {MOST_BYTES >> 20} MiB.", 413)(scope, receive, sending)
        except Exception:
            if not begun:
                self._count(500)  # which Starlette answers, outside of this
            raise

    def _foreign(self, scope: Scope) -> bool:
        """Whether another site's page sends it. Programs that are no browsers say nothing of where they come from."""
        headers = Headers(scope=scope)
        if scope["method"] in ("GET", "HEAD") or "origin" not in headers:
            return False
        return urlsplit(headers["origin"]).netloc not in (headers.get("host"), self._own.netloc)


def _limited(receive: Receive) -> Receive:
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_BYTES:
            raise TooLarge
        return message

    return receiving
