"""One HTTP call, from its first byte to its answer: what all forms share.

read      the body, no further than its size may be
answer    counted like a call over gRPC, within the forms' time; a caller who goes away cancels it
fail      in the words of the call's form
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from plaudit.reward.counting import Call, Counting
from plaudit.reward.errors import BatchTooLarge, DeadlineExpired, InvalidRequest, RequestError
from plaudit.reward.forms.form import Form
from plaudit.reward.forms.paths import form_of
from plaudit.reward.forms.problems import Problem, problem
from plaudit.reward.items import Deadline
from plaudit.telemetry.logs import request_id

SPILL = 8
"""How many times as much as it may be is still received, and forgotten, of a body that is too large;"""
PATIENCE_S = 0.5
"""and for how many seconds."""
NOBODY = Response(status_code=499)
"""To a caller who has gone."""


class Exchange:
    """One call. `form` is chosen anew once the body is known."""

    def __init__(self, request: Request, form: Form, timeout: float) -> None:
        self.request, self.form, self.timeout = request, form, timeout
        self.deadline = Deadline.within(timeout)
        self.call = Call(form.name)

    async def run(self, counting: Counting, max_bytes: int, answer: "Answering") -> Response:
        """The answer, or the form's error."""
        try:
            body = await self._read(max_bytes)
        except ClientDisconnect:
            return NOBODY
        working = asyncio.ensure_future(self._counted(counting, body, answer))
        gone = asyncio.ensure_future(_gone(self.request.receive))
        try:
            await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else NOBODY
        finally:
            working.cancel()
            gone.cancel()
            await asyncio.gather(working, gone, return_exceptions=True)

    async def _read(self, max_bytes: int) -> bytes | RequestError:
        """The body, or why it is not taken, which is then counted as the call's end."""
        try:
            async with asyncio.timeout(self.deadline.left()):
                return await _bounded(self.request, max_bytes)
        except TimeoutError:
            return DeadlineExpired(f"the body had not come after {self.timeout:g} s")
        except RequestError as error:
            return error

    async def _counted(self, counting: Counting, body: bytes | RequestError, answer: "Answering") -> Response:
        headers = self.request.headers
        try:
            with counting.counted(self.call, headers.get("x-request-id", ""), headers.get("traceparent")):
                response = await self._within_time(body, answer)
        except Exception as error:
            response = respond(self.form, problem(error))
        response.headers["x-request-id"] = request_id.get()
        return response

    async def _within_time(self, body: bytes | RequestError, answer: "Answering") -> Response:
        if isinstance(body, RequestError):
            raise body
        try:
            async with asyncio.timeout(self.deadline.left()):
                return await answer(self, body)
        except TimeoutError:
            raise DeadlineExpired(f"no answer within {self.timeout:g} s") from None


Answering = Callable[[Exchange, bytes], Awaitable[Response]]
"""What makes the answer of a body; raises RequestError."""


def respond(form: Form, found: Problem) -> Response:
    """In the form's own words."""
    status, body = form.error(found)
    return JSONResponse(body, status, found.headers())


class Answered:
    """Around an application and whatever stands before it: a RequestError that comes out is answered in the form that
    the path is of."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks."""
        try:
            await self._app(scope, receive, send)
        except RequestError as error:
            await respond(form_of(scope["path"]), problem(error))(scope, receive, send)


async def _bounded(request: Request, max_bytes: int) -> bytes:
    """Raises BatchTooLarge before more than that is read, and InvalidRequest for what is compressed."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequest("content-encoding", "bodies are taken as they are, not compressed")
    declared = request.headers.get("content-length", "")
    too_large = BatchTooLarge(f"the body is larger than {max_bytes} bytes (limits.max_request_bytes)")
    stream = request.stream()
    if declared.isdecimal() and int(declared) > max_bytes:
        await _discard(stream, SPILL * max_bytes)
        raise too_large
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > max_bytes:
            await _discard(stream, SPILL * max_bytes)
            raise too_large
    return bytes(body)


async def _discard(stream: AsyncIterator[bytes], most: int) -> None:
    """A caller who is still sending when the connection closes is never shown why: he is let finish, within bounds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            async for chunk in stream:
                most -= len(chunk)
                if most < 0:
                    return


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
