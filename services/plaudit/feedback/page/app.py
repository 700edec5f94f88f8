"""The labelling page's routes.

    GET  /            the task that this person is at, or another one          POST /judge /skip /undo   -> back to /
    GET  /in          asks for the token; a personal link has it behind the #  POST /in  -> a cookie;  POST /out
    POST /draft       what is typed and not yet sent, as JSON
    /admin            see admin.py

Who is signed in has a cookie with the token, that no script reads and no other site's page can use. A link's token
stands behind its #, which browsers send to nobody: it is in no log.

A judgement carries a name that the page gave it when it was shown: sent twice it is one. Where the database does not
answer, the page says so (503), keeps what was typed and tries again.
"""

import asyncio
import math
import secrets
from pathlib import Path

from sqlalchemy.exc import OperationalError, TimeoutError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from plaudit.feedback.asking import shown
from plaudit.feedback.fields import MOST_CHARACTERS, read_draft, verdict_of
from plaudit.feedback.page import admin
from plaudit.feedback.page.desk import Desk
from plaudit.feedback.page.guard import Guard
from plaudit.feedback.page.requests import COOKIE, Handler, desk_of, keep_signed_in, read_form, signed_in
from plaudit.feedback.records import AlreadyJudged, NotYours, Person
from plaudit.feedback.tasks import WrongVerdict

"""A cookie's life."""
MOST_SECONDS = 24 * 3600.0
MOST_DIGITS = 9
"""Of an assignment's number: as many as every database has room for."""
"""That anybody is said to have thought about one task."""
JUDGED_ALREADY = "You have judged that one in another window: “Undo” takes it back."


def application(desk: Desk) -> Starlette:
    """Over one store."""

    def route(path: str, handler: Handler, method: str = "POST") -> Route:
        return Route(path, signed_in(handler), methods=[method])

    app = Starlette(
        routes=[
            Route("/in", _enter, methods=["GET"]),
            Route("/in", _sign_in, methods=["POST"]),
            Route("/out", _sign_out, methods=["POST"]),
            route("/", _ask, "GET"),
            route("/judge", _judge),
            route("/skip", _skip),
            route("/undo", _undo),
            route("/draft", _save_draft),
            route("/admin", admin.overview, "GET"),
            route("/admin/people", admin.invite),
            route("/admin/export/{form}.jsonl", admin.download, "GET"),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        middleware=[Middleware(Guard, url=desk.url, count=desk.metrics.answered)],
        exception_handlers={OperationalError: _away, TimeoutError: _away, NotYours: _gone, HTTPException: _failed},
    )
    app.state.desk = desk
    return app


# -- coming and going ------------------------------------------------------------------------------------------------


async def _enter(request: Request) -> Response:
    return desk_of(request).render("in.html")


async def _sign_in(request: Request) -> Response:
    desk = desk_of(request)
    token = (await read_form(request)).get("token", "").strip().rpartition("#")[2]
    if await asyncio.to_thread(desk.store.sign_in, token) is None:
        return desk.render("in.html", status=403, problem="Nobody has this token. Ask for a new link.")
    response = RedirectResponse("/", 303)
    keep_signed_in(response, desk, token)
    return response


async def _sign_out(_: Request) -> Response:
    response = RedirectResponse("/in", 303)
    response.delete_cookie(COOKIE)
    return response


# -- judging ---------------------------------------------------------------------------------------------------------


async def _ask(_: Request, desk: Desk, person: Person) -> Response:
    return await _page(desk, person)


async def _page(desk: Desk, person: Person, problem: str = "", status: int = 200) -> Response:
    asked = await asyncio.to_thread(desk.store.next, person)
    standing = await asyncio.to_thread(desk.store.standing, person)
    task = None if asked is None else shown(asked)
    return desk.render(
        "done.html" if task is None else "task.html",
        status=status,
        person=person,
        standing=standing,
        task=task,
        submission=secrets.token_hex(16),
        problem=problem,
    )


async def _judge(request: Request, desk: Desk, person: Person) -> Response:
    fields = await read_form(request)
    assignment = _assignment(fields)
    asked = await asyncio.to_thread(desk.store.asked, person, assignment)
    try:
        verdict = verdict_of(asked, fields)
        await asyncio.to_thread(
            desk.store.judge,
            person,
            assignment,
            fields.get("submission", "")[:64],
            verdict,
            comment=_comment(fields),
            flagged="flagged" in fields,
            seconds=_seconds(fields),
        )
    except WrongVerdict as error:
        await asyncio.to_thread(desk.store.save_draft, person, assignment, read_draft(asked.task, fields))
        return await _page(desk, person, f"Not sent yet: {error}.", 422)
    except AlreadyJudged:
        return await _page(desk, person, JUDGED_ALREADY, 409)
    desk.metrics.judged(asked.task.kind, _seconds(fields))
    return RedirectResponse("/", 303)


async def _skip(request: Request, desk: Desk, person: Person) -> Response:
    fields = await read_form(request)
    try:
        await asyncio.to_thread(
            desk.store.skip, person, _assignment(fields), comment=_comment(fields), flagged="flagged" in fields
        )
    except AlreadyJudged:
        return await _page(desk, person, JUDGED_ALREADY, 409)
    desk.metrics.skipped.inc()
    return RedirectResponse("/", 303)


async def _undo(request: Request, desk: Desk, person: Person) -> Response:
    fields = await read_form(request)
    at = _assignment(fields) if "assignment" in fields else None
    if await asyncio.to_thread(desk.store.undo, person, at) is None:
        return await _page(desk, person, "There is nothing to take back.")
    desk.metrics.undone.inc()
    return RedirectResponse("/", 303)


async def _save_draft(request: Request, desk: Desk, person: Person) -> Response:
    try:
        sent = await request.json()
        assignment, draft = int(sent["assignment"]), dict(sent["draft"])
    except (ValueError, KeyError, TypeError):
        raise HTTPException(400, "This is no draft.") from None
    asked = await asyncio.to_thread(desk.store.asked, person, assignment)
    await asyncio.to_thread(desk.store.save_draft, person, assignment, read_draft(asked.task, draft))
    return Response(status_code=204)


def _assignment(fields: dict[str, str]) -> int:
    text = fields.get("assignment", "")
    if not (text.isdecimal() and len(text) <= MOST_DIGITS):
        raise HTTPException(400, "This form is of no task.")
    return int(text)


def _comment(fields: dict[str, str]) -> str:
    return fields.get("comment", "").strip()[:MOST_CHARACTERS]


def _seconds(fields: dict[str, str]) -> float:
    try:
        seconds = float(fields.get("seconds", 0))
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), MOST_SECONDS) if math.isfinite(seconds) else 0.0


# -- what goes wrong -------------------------------------------------------------------------------------------------


async def _away(request: Request, _: Exception) -> Response:
    problem = "The database does not answer. Nothing is lost: try again in a moment."
    return desk_of(request).render("problem.html", status=503, problem=problem, headers={"Retry-After": "2"})


async def _gone(request: Request, _: Exception) -> Response:
    return desk_of(request).render("problem.html", status=404, problem="This task is not on your list.")


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.url.path == "/draft":
        return JSONResponse({"problem": error.detail}, error.status_code)
    return desk_of(request).render("problem.html", status=error.status_code, problem=error.detail)
