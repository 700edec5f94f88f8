"""A run's endpoint as `plaudit train` serves it, without the run; and addresses that answer otherwise."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from plaudit.rollout.pool import PoolCounts
from plaudit.rollout.slot import SlotState
from plaudit.telemetry.http import application, serve_in_thread
from plaudit.trainer.control import Control
from plaudit.trainer.metrics import TrainerMetrics
from plaudit.trainer.record import describe

FIRST = {"score_mean": -0.5, "reward_mean": -0.6, "kl": 0.5, "kl_coef": 0.05, "entropy": 2.5, "explained_variance": 0.1}
SECOND = {"score_mean": 0.5, "reward_mean": 0.25, "kl": 4.0, "kl_coef": 0.05, "entropy": 2.0, "explained_variance": 0.5}


class ServedRun:
    """Its registry and its control are real; steps are told."""

    def __init__(self, folder: Path, steps: int = 10) -> None:
        self.metrics, self.control = TrainerMetrics(self._pool, kl_target=6.0), Control(folder, steps)
        self.control.opened(0, None, None)
        self.done = 0

    def _pool(self) -> PoolCounts:
        """As it is while the step after the last one done is under way."""
        workers = defaultdict(int, {SlotState.GENERATING: 2, SlotState.LOST: 1} if self.done else {})
        last = max(0, self.done - 1)
        return PoolCounts(workers=workers, wanted=3, restarts=1, waiting=4, oldest_version=last)

    def step(self, learnt: dict[str, float], took: float = 10.0) -> None:
        step = defaultdict(float, learnt, tokens=600, generated_tokens=640, episodes=16)
        step |= {"seconds_generate": 0.6 * took, "seconds_update": 0.4 * took, "seconds_step": took}
        self.control.between_steps(lambda: Path())
        self.metrics.observe(self.done, step)
        self.metrics.observe_rewards({"UNAVAILABLE": 1}, retries=3 * (self.done + 1))
        self.done += 1
        self.control.step_done(self.done)


@contextlib.contextmanager
def served(run: ServedRun, port: int = 0) -> Iterator[str]:
    """host:port of its /metrics and /health."""
    thread = serve_in_thread(application(run.metrics.registry, run.control.health), "127.0.0.1", port)
    try:
        yield f"127.0.0.1:{thread.port}"
    finally:
        thread.close()


def run_folder(folder: Path, http_address: str, reward: dict[str, str], models: dict[str, str]) -> Path:
    """What a run writes of itself; `reward` has a gRPC address by a service's name."""
    folder.mkdir(exist_ok=True)
    more = {name: {"address": address} for name, address in reward.items() if name != "reward"}
    settings = {"reward": {"address": reward["reward"]}, "more_rewards": more}
    (folder / "config.yaml").write_text(json.dumps(settings))
    describe(folder, address="127.0.0.1:1", http_address=http_address, reward_models=models)
    return folder


@contextlib.asynccontextmanager
async def answering(answer: bytes, pause: float = 0.0) -> AsyncIterator[str]:
    """Sends `answer` again and again after whatever is asked, with `pause` between; once where there is none."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            writer.write(answer)
            while pause:
                await asyncio.sleep(pause)
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
