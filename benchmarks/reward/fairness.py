"""How long somebody polite waits while somebody else floods the server (flood.py).

The polite client sends one item, waits for its answer and for a moment more: alone; beside the flood, each with a key
of its own; and both with one key, which makes them one client, first come, first served, as without turns. The fourth
time the flood's key has a quota.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from child import HERE, Child
from contenders.served import serving
from measure import Figure, report, turns
from setting import Setting, model_arguments, setting
from workload import pairs

from plaudit.reward.gate.keys import digest_of, new_key
from plaudit_client import AsyncRewardClient, ScoreItem, TextPair

PAUSE = 0.1
QUOTA = {"tokens_per_second": 500.0, "burst_tokens": 2000.0}
ARMS = {
    "alone": None,
    "with the flood": "flood",
    "with the flood, one key for both": "polite",
    "with the flood, its key has a quota": "bounded",
}
"""Whose key the flood has."""


@dataclass(frozen=True)
class Bench:
    """A server, and the keys that it knows."""

    at: Setting
    server: Child
    keys: dict[str, str]

    def measure(self, flood: str | None, seconds: float, seed: int) -> list[float]:
        """The polite client's latencies, in seconds."""
        with contextlib.ExitStack() as stack:
            if flood is not None:
                given = ("{ready}", self.server.address, self.keys[flood], str(self.at.median))
                stack.enter_context(Child(str(HERE / "flood.py"), *given))
            return asyncio.run(self._ask(seed, seconds))

    async def _ask(self, seed: int, seconds: float) -> list[float]:
        found: list[float] = []
        async with AsyncRewardClient(self.server.address, api_key=self.keys["polite"], timeout=120) as client:
            await client.wait_until_ready(60)
            until = time.monotonic() + seconds
            for prompt, response in pairs(seed, 10_000, self.at.median):
                if time.monotonic() > until:
                    break
                began = time.monotonic()
                await client.score([ScoreItem(TextPair(prompt, response))])
                found.append(time.monotonic() - began)
                await asyncio.sleep(PAUSE)
        return found


@contextlib.contextmanager
def bench(at: Setting) -> Iterator[Bench]:
    """Keys for everybody."""
    keys = {name: new_key() for name in ("polite", "flood", "bounded")}
    listed = [{"name": name, "sha256": digest_of(key)} for name, key in keys.items()]
    listed[-1] = {**listed[-1], "quota": QUOTA}  # type: ignore[dict-item]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keys.yaml")
        file.write_text(yaml.safe_dump({"keys": listed}))
        model = {"name": "model", "model": str(at.folder)}
        with serving(model, at.threads, (f"keys={file}", *at.server_settings)) as server:
            yield Bench(at, server, keys)


def figures(rounds: list[dict[str, list[float]]]) -> Iterator[Figure]:
    """Of all rounds."""
    for arm in ARMS:
        for percent in (50, 99):
            values = [1e3 * float(np.percentile(one[arm], percent)) for one in rounds]
            yield Figure(f"{arm}: p{percent}", values, unit="ms")


def main() -> None:
    """Prints a table."""
    parsed = model_arguments(__doc__, rounds=3, seconds=15).parse_args()
    with setting(parsed) as at, bench(at) as one:
        arms: dict[str, Callable[[int], list[float]]] = {
            arm: partial(one.measure, flood, parsed.seconds) for arm, flood in ARMS.items()
        }
        rounds = list(turns(parsed.rounds, arms))
    title = f"A polite client's latency, {parsed.rounds} rounds of {parsed.seconds:g} s"
    report(title, list(figures(rounds)), parsed.json)


if __name__ == "__main__":
    main()
