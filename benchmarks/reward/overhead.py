"""What the server itself costs: processor seconds of its process for a model that costs nothing.

    one item      plaudit serve with a keyword rule   against   a bare grpc.aio server of the same messages
                  (contenders/echo.py); unary requests of one item, a closed loop of 32 clients
    with a key    the first again, from clients that show an API key, with a quota
    64 items      the first two; the target is in microseconds an item, nothing subtracted

Read from the operating system for the server's process, so the load generator does not count. Both get the same bytes.
The rule's own search of a response of some ten words is in the server's share.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from child import Child
from contenders.served import RULE, serving
from load import Load, run
from measure import Figure, arguments, report, turns

from plaudit.reward.gate.keys import digest_of, new_key

CLIENTS, MEDIAN, LARGE = 32, 20.0, 64


@dataclass(frozen=True)
class Cost:
    """Microseconds of a request: the server's processor, and the clock."""

    cpu: float
    wall: float


def cost(server: Child, seed: int, count: int, items: int, key: str = "") -> Cost:
    """Of `count` requests of `items` items."""
    before = server.cpu()
    load = Load(address=server.address, seed=seed, median=MEDIAN, clients=CLIENTS, count=count, items=items, key=key)
    outcome = run(load)
    assert outcome.ok == count, outcome.counts()
    return Cost(1e6 * (server.cpu() - before) / count, 1e6 * outcome.seconds / count)


@contextmanager
def keys_file() -> Iterator[tuple[str, str]]:
    """A key, and the file of keys that has it."""
    key, quota = new_key(), {"tokens_per_second": 1e12, "burst_tokens": 1e12}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keys.yaml")
        file.write_text(json.dumps({"keys": [{"name": "bench", "sha256": digest_of(key), "quota": quota}]}))
        yield key, str(file)


def figures(rounds: list[dict[str, Cost]]) -> Iterator[Figure]:
    """Of all rounds."""
    ratio = [one["ours"].cpu / one["echo"].cpu for one in rounds]
    yield Figure("one item: processor, ours / bare server's", ratio, 2, "lower")
    with_key = [one["with a key"].cpu / one["ours"].cpu for one in rounds]
    yield Figure("one item: processor, with a key / without", with_key)
    for name in ("ours", "with a key", "echo"):
        yield Figure(f"one item: processor, {name}", [one[name].cpu for one in rounds], unit="µs")
        yield Figure(f"one item: between answers, {name}", [one[name].wall for one in rounds], unit="µs")
    ours, echo = ([one[name].cpu / LARGE for one in rounds] for name in ("ours 64", "echo 64"))
    yield Figure("64 items: processor for each, ours", ours, 20, "lower", "µs")
    yield Figure("64 items: processor for each, echo", echo, unit="µs")


def main() -> None:
    """Prints a table."""
    parsed = arguments(__doc__, rounds=5, seconds=4).parse_args()
    with (
        serving(RULE, 1) as ours,
        Child("-m", "contenders.echo", "{ready}") as echo,
        keys_file() as (key, file),
        serving(RULE, 1, (f"keys={file}",)) as keyed,
    ):
        cost(keyed, 0, 500, 1, key)
        for server in (ours, echo):
            cost(server, 0, 50, LARGE)  # warm
            warm = cost(server, 0, 500, 1)
        single = round(1e6 * parsed.seconds / warm.wall)
        large = single // 16
        contenders = {
            "ours": lambda seed: cost(ours, seed, single, 1),
            "with a key": lambda seed: cost(keyed, seed, single, 1, key),
            "echo": lambda seed: cost(echo, seed, single, 1),
            "ours 64": lambda seed: cost(ours, 1000 + seed, large, LARGE),
            "echo 64": lambda seed: cost(echo, 1000 + seed, large, LARGE),
        }
        measured = list(turns(parsed.rounds, contenders))
    title = f"Overhead: a model that costs nothing, {single} requests of one item, {large} of 64"
    report(title, list(figures(measured)), parsed.json)


if __name__ == "__main__":
    main()
