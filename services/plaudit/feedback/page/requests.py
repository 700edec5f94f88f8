"""Who sends a request, and what stands in its form."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from plaudit.feedback.page.desk import Desk
from plaudit.feedback.records import Person

COOKIE = "plaudit-label"
MOST_FIELDS = 200
KEPT_S = 90 * 24 * 3600

Handler = Callable[[Request, Desk, Person], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def desk_of(request: Request) -> Desk:
    """The service's."""
    desk: Desk = request.app.state.desk
    return desk


def signed_in(handler: Handler) -> Endpoint:
    """Asks who it is first."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        desk = desk_of(request)
        token = request.cookies.get(COOKIE, "")
        person = await asyncio.to_thread(desk.store.sign_in, token) if token else None
        if person is not None:
            return await handler(request, desk, person)
        if request.method == "GET":
            return RedirectResponse("/in", 303)
        raise HTTPException(401, "You are signed out, and this was not sent: open your personal link again.")

    return endpoint


def keep_signed_in(response: Response, desk: Desk, token: str) -> None:
    """In a cookie that no script reads, and no other site sends."""
    response.set_cookie(COOKIE, token, KEPT_S, httponly=True, samesite="lax", secure=desk.secure)


async def read_form(request: Request) -> dict[str, str]:
    """Of a form as browsers send it; the guard has seen to its size."""
    try:
        text = (await request.body()).decode().replace("%00", "")  # no database keeps a NUL
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise HTTPException(400, "This is no form.") from None
