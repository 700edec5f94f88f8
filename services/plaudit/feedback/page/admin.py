"""Progress, people and exports, for who runs it."""

import asyncio
from collections.abc import Iterator

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from plaudit.feedback.exporting import Form, export
from plaudit.feedback.page.desk import Desk
from plaudit.feedback.page.requests import keep_signed_in, read_form
from plaudit.feedback.records import Person
from plaudit.feedback.schema import LONGEST_NAME, Role
from plaudit.outputs import json_line


async def overview(_: Request, desk: Desk, person: Person, link: str = "", invited: str = "") -> Response:
    """Everything on one page."""
    _require_admin(person)
    summary = await desk.latest.summary()
    return desk.render("admin.html", person=person, summary=summary, forms=list(Form), link=link, invited=invited)


async def invite(request: Request, desk: Desk, person: Person) -> Response:
    """A personal link, told once. Somebody who had one has a new one, and may do what they might."""
    _require_admin(person)
    fields = await read_form(request)
    name = fields.get("name", "").strip()[:LONGEST_NAME]
    if not name:
        raise HTTPException(422, "A person has a name.")
    role = Role.ADMIN if fields.get("role") == Role.ADMIN else None
    token = await asyncio.to_thread(desk.store.add_person, name, role)
    desk.latest.forget()
    answer = await overview(request, desk, person, desk.link(token), name)
    if name == person.name:  # their own token is the old one now
        keep_signed_in(answer, desk, token)
    return answer


async def download(request: Request, desk: Desk, person: Person) -> Response:
    """Judgements as rows of data."""
    _require_admin(person)
    try:
        form = Form(request.path_params["form"])
    except ValueError:
        raise HTTPException(404, f"No such form: {', '.join(Form)}.") from None
    name = f'attachment; filename="{form}.jsonl"'
    return StreamingResponse(_lines(desk, form), media_type="application/jsonl", headers={"Content-Disposition": name})


def _lines(desk: Desk, form: Form) -> Iterator[str]:
    return map(json_line, export(desk.store.judged(), form))


def _require_admin(person: Person) -> None:
    if person.role is not Role.ADMIN:
        raise HTTPException(403, "This page is for admins.")
