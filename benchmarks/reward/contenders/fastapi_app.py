"""A reward server as one writes it in an afternoon: POST /get_reward, every request a forward of its own.

    python -m contenders.fastapi_app READY FOLDER LONGEST THREADS async|lock

The shape is OpenRLHF's `serve_rm`: tokenise, forward, JSON. "async" does that on the event loop, as there; "lock" in a
thread of the pool, one at a time. uvicorn with uvloop and httptools, no access log; inference mode; no padding, since
there is one text.
"""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from child import write_ready
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from contenders.scorer import Scorer
from plaudit.telemetry.http import bind


def application(scorer: Scorer, mode: str) -> FastAPI:
    """One route."""
    lock = threading.Lock()

    def score(queries: list[str]) -> JSONResponse:
        rewards = [scorer.forward([row])[0] for row in scorer.ids(queries)] if queries else []
        return JSONResponse({"rewards": rewards, "scores": rewards, "extra_logs": {}})

    def score_locked(queries: list[str]) -> JSONResponse:
        with lock:
            return score(queries)

    async def on_loop(request: Request) -> JSONResponse:
        return score((await request.json())["query"])

    async def in_thread(request: Request) -> JSONResponse:
        return await asyncio.to_thread(score_locked, (await request.json())["query"])

    endpoints: dict[str, Callable[[Request], Any]] = {"async": on_loop, "lock": in_thread}
    app = FastAPI()
    app.add_api_route("/get_reward", endpoints[mode], methods=["POST"], response_model=None)
    return app


def main() -> None:
    """Until it is killed."""
    ready, folder, longest, threads, mode = sys.argv[1:]
    app = application(Scorer(folder, int(longest), int(threads)), mode)
    listener = bind("127.0.0.1", 0)
    write_ready(ready, kind="http", address=f"127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run([listener])


if __name__ == "__main__":
    main()
