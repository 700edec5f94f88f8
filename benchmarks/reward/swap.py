"""What callers notice while a model's version is swapped: loaded beside the old one, named, the old one unloaded.

Clients ask `models/model` at a constant rate, all the time. Every score is held against that of a plain forward of the
version that the reply names. A round swaps to the other version; it has a quiet part and the loading to compare.
"""

import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import reward_model
from contenders.served import serving
from measure import Figure, arguments, report
from workload import pairs

from plaudit.reward.folder import read
from plaudit.reward.gate.keys import digest_of, new_key
from plaudit.reward.loading import load_model, load_tokenizer, score_alone
from plaudit.reward.rendering import render
from plaudit.telemetry.quiet import quiet_libraries
from plaudit_client import AsyncRewardClient, RewardError, Score, ScoreItem, TextPair
from plaudit_client.admin import ModelAdmin

CLIENTS, TEXTS, ITEMS = 8, 64, 2
TOLERANCE = 1e-4
"""Of scores, absolute and relative: padding changes sums a little, another version all of it."""


@dataclass
class Seen:
    """What clients got."""

    versions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    latencies: list[tuple[float, float]] = field(default_factory=list)  # when it began, seconds
    retries: int = 0

    def between(self, begin: float, end: float) -> list[float]:
        return [seconds for began, seconds in self.latencies if begin <= began < end]


class Clients:
    """Ask until they are told to stop."""

    def __init__(self, address: str, key: str, rate: float, goldens: dict[str, list[float]]) -> None:
        self._address, self._key, self._pause, self._goldens = address, key, CLIENTS / rate, goldens
        self.seen, self.stop = Seen(), asyncio.Event()

    async def run(self) -> None:
        await asyncio.gather(*(self._ask(number) for number in range(CLIENTS)))

    async def _ask(self, number: int) -> None:
        chosen = random.Random(number)
        texts = pairs(0, TEXTS, 32)
        async with AsyncRewardClient(self._address, model="models/model", api_key=self._key) as client:
            due = time.monotonic() + self._pause * number / CLIENTS
            while not self.stop.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += self._pause
                places = chosen.sample(range(TEXTS), ITEMS)
                began = time.monotonic()
                try:
                    results = await client.score([ScoreItem(TextPair(*texts[place])) for place in places])
                except RewardError as error:
                    self.seen.outcomes[type(error).__name__] += 1
                    continue
                self.seen.latencies.append((began, time.monotonic() - began))
                for place, result in zip(places, results, strict=True):
                    self._check(place, result)
            self.seen.retries += client.counts.retries

    def _check(self, place: int, result: object) -> None:
        if not isinstance(result, Score):
            self.seen.outcomes["without a score"] += 1
            return
        golden = self._goldens[result.model.name][place]
        right = abs(result.value - golden) <= TOLERANCE * max(1.0, abs(golden))
        self.seen.versions[result.model.name] += 1
        self.seen.outcomes["its version's score" if right else "another score"] += 1


@dataclass(frozen=True)
class Round:
    """Seconds."""

    quiet: list[float]  # latencies before
    loading: list[float]  # latencies while the other version is loaded
    load: float
    alias: float
    unload: float


async def swap(clients: Clients, admin: ModelAdmin, folder: str, quiet: float) -> Round:
    """To the version in `folder`, and the other one unloaded."""
    began = time.monotonic()
    await asyncio.sleep(quiet)
    times = [time.monotonic()]
    old = next(model for model in await asyncio.to_thread(admin.models) if model.aliased)
    new = await asyncio.to_thread(admin.load, "model", folder)
    times.append(time.monotonic())
    await asyncio.to_thread(admin.update_alias, new.name)
    times.append(time.monotonic())
    await asyncio.to_thread(admin.unload, old.name)
    times.append(time.monotonic())
    seen = clients.seen
    return Round(seen.between(began, times[0]), seen.between(times[0], times[1]), *np.diff(times).tolist())


def golden(folder: Path) -> tuple[str, list[float]]:
    """The version's resource name, and every text's score by a plain forward."""
    record, tokenizer, model = read(folder), load_tokenizer(folder), load_model(folder)
    assert record is not None
    rows = [render(tokenizer, record.rendering, *pair).input_ids for pair in pairs(0, TEXTS, 32)]
    return f"models/model/versions/{record.version}", [score_alone(model, row) for row in rows]


@contextlib.contextmanager
def bench() -> Iterator[tuple[str, str, dict[str, list[float]]]]:
    """A server of version one below a root that has both; its address, a key, and goldens."""
    with tempfile.TemporaryDirectory() as folder:
        root, key = Path(folder), new_key()
        goldens = dict(golden(reward_model.make(root / name, seed)) for seed, name in enumerate(("one", "two")))
        keys = [{"name": "bench", "sha256": digest_of(key), "scopes": ["score", "admin"]}]
        (root / "keys.yaml").write_text(json.dumps({"keys": keys}))
        own = (f"keys={root}/keys.yaml", f"model_roots=[{root}]")
        with serving({"name": "model", "model": str(root / "one")}, 1, own) as server:
            yield server.address, key, goldens


async def measured(
    address: str, key: str, goldens: dict[str, list[float]], rounds: int, quiet: float, rate: float
) -> tuple[Seen, list[Round]]:
    """Rounds of swaps there and back, under load."""
    clients = Clients(address, key, rate, goldens)
    asking = asyncio.create_task(clients.run())
    with ModelAdmin(address, api_key=key) as admin:
        found = [await swap(clients, admin, ("two", "one")[number % 2], quiet) for number in range(rounds)]
    clients.stop.set()
    await asking
    return clients.seen, found


def figures(rounds: list[Round]) -> Iterator[Figure]:
    """Of all rounds."""
    for name in ("quiet", "loading"):
        for percent in (50, 99):
            values = [1e3 * float(np.percentile(getattr(one, name), percent)) for one in rounds]
            yield Figure(f"a call, {name}: p{percent}", values, unit="ms")
    for name in ("load", "alias", "unload"):
        yield Figure(name, [getattr(one, name) for one in rounds], unit="s")


def main() -> None:
    """Prints counts and a table; ends with 1 where a call failed or a score was another version's."""
    parser = arguments(__doc__, rounds=6, seconds=10)
    parser.add_argument("--rate", type=float, default=12.0, help="calls a second; default 12")
    parsed = parser.parse_args()
    quiet_libraries()
    with bench() as (address, key, goldens):
        seen, rounds = asyncio.run(measured(address, key, goldens, parsed.rounds, parsed.seconds, parsed.rate))
    print(f"{len(seen.latencies)} calls of {ITEMS} items, {seen.retries} attempts more; {dict(seen.outcomes)}")
    print(f"items by version: {sorted(seen.versions.values())}")
    report(f"{parsed.rounds} swaps under load", list(figures(rounds)), parsed.json)
    if set(seen.outcomes) != {"its version's score"}:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
