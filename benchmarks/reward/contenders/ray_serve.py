"""Ray Serve with `@serve.batch`: the batching server one can have without writing it.

    python -m contenders.ray_serve READY FOLDER LONGEST THREADS BUDGET

One replica, batches of up to 64, the raw HTTP request, no data model. Inside a batch it is the bare loop's scorer:
sorted by length, cut into pieces of BUDGET padded tokens. Reads {"wait": seconds}, the batch_wait_timeout_s to go on
with.
"""

import logging
import signal
import sys
from typing import Any

import ray
from child import obey, take_output, write_ready
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from contenders.scorer import WINDOW, Scorer
from plaudit.telemetry.http import bind


class Rewards:
    """The replica."""

    def __init__(self, folder: str, longest: int, threads: int, budget: int) -> None:
        self._scorer, self._budget = Scorer(folder, longest, threads), budget

    def reconfigure(self, settings: dict[str, float]) -> None:
        """Called by Ray whenever `user_config` changes."""
        batched: Any = self.score
        batched.set_batch_wait_timeout_s(settings["wait"])

    @serve.batch(max_batch_size=WINDOW)
    async def score(self, texts: list[str]) -> list[float]:
        """One text of each request; Ray hands every request its own score."""
        return self._scorer.score(texts, self._budget)

    async def __call__(self, request: Request) -> JSONResponse:
        """OpenRLHF's form, one query a request."""
        (query,) = (await request.json())["query"]
        reward = await self.score(query)
        return JSONResponse({"rewards": [reward], "scores": [reward]})


def deploy(wait: float, *given: Any) -> None:
    """Starts the replica, or hands it a new wait."""
    options = {"num_replicas": 1, "max_ongoing_requests": 4 * WINDOW, "user_config": {"wait": wait}}
    deployment: Any = serve.deployment(Rewards)
    serve.run(deployment.options(**options).bind(*given), route_prefix="/get_reward")


def main() -> None:
    """Until there are no more commands."""
    ready, folder, longest, threads, budget = sys.argv[1:]
    output = take_output()
    free = bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=80 << 20,
    )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end of its input ends it: Ray has processes to clean up
    serve.start(http_options={"host": "127.0.0.1", "port": port, "access_log": False})
    given = (folder, int(longest), int(threads), int(budget))

    def do(command: dict[str, Any]) -> dict[str, Any]:
        deploy(command["wait"], *given)
        return {}

    do({"wait": 0.01})
    write_ready(ready, kind="http", address=f"127.0.0.1:{port}")
    obey(do, output)
    ray.shutdown()


if __name__ == "__main__":
    main()
